package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// report is the output of -json. Times are in seconds, sizes in bytes.
type report struct {
	Runs        int     `json:"runs"`
	LatencyMS   int64   `json:"latency_ms"`
	BinaryBytes int64   `json:"binary_bytes"`
	Apply       command `json:"apply"`
	FirstPlan   command `json:"first_plan_after_apply"` // marks what is new as held
	Plan        command `json:"plan_without_changes"`
}

// command has the results of one command over all runs.
type command struct {
	Wall       figures        `json:"wall_s"`
	Chain      figures        `json:"longest_chain_s"`
	Ratio      figures        `json:"wall_by_chain"`
	Calls      figures        `json:"calls"`
	Memory     figures        `json:"provider_peak_bytes"`
	ByAction   map[string]int `json:"calls_by_action"` // of the last run
	ChainCalls []string       `json:"longest_chain"`   // of the last run

	samples []sample
}

type figures struct {
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func (c *command) add(s sample) { c.samples = append(c.samples, s) }

func (r report) finish() report {
	r.Apply.finish()
	r.FirstPlan.finish()
	r.Plan.finish()
	return r
}

func (c *command) finish() {
	var wall, chained, ratio, calls, memory []float64
	for _, s := range c.samples {
		chain, total := longestChain(s.calls)
		wall = append(wall, s.wall.Seconds())
		chained = append(chained, total.Seconds())
		ratio = append(ratio, s.wall.Seconds()/max(total.Seconds(), time.Millisecond.Seconds()))
		calls = append(calls, float64(len(s.calls)))
		memory = append(memory, float64(s.memory))
		c.ByAction, c.ChainCalls = map[string]int{}, nil
		for _, call := range s.calls {
			c.ByAction[call.Service+":"+call.Action]++
		}
		for _, call := range chain {
			c.ChainCalls = append(c.ChainCalls, fmt.Sprintf("%6.2f s +%.2f s %s:%s %s",
				call.Start.Sub(s.calls[0].Start).Seconds(), took(call).Seconds(), call.Service, call.Action, call.Resource))
		}
	}
	c.Wall, c.Chain, c.Ratio, c.Calls, c.Memory = figuresOf(wall), figuresOf(chained), figuresOf(ratio), figuresOf(calls), figuresOf(memory)
}

func figuresOf(values []float64) figures {
	slices.Sort(values)
	n := len(values)
	return figures{Median: (values[(n-1)/2] + values[n/2]) / 2, Max: values[n-1]}
}

// mb is a megabyte in decimal units.
const mb = 1e6

func (r report) print(w io.Writer, withChain bool) {
	fmt.Fprintf(w, "n = %d, %d ms added to every call, binary %.1f MB (stripped)\n\n", r.Runs, r.LatencyMS, float64(r.BinaryBytes)/mb)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\twall s\tmax\tchain s\tmax\twall/chain\tmax\tcalls\tmax\tprovider MB\tmax\t")
	row := func(name string, c command) {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.1f\t%.1f\t\n", name, c.Wall.Median, c.Wall.Max, c.Chain.Median, c.Chain.Max,
			c.Ratio.Median, c.Ratio.Max, c.Calls.Median, c.Calls.Max, c.Memory.Median/mb, c.Memory.Max/mb)
	}
	row("apply", r.Apply)
	row("first plan after it", r.FirstPlan)
	row("plan, nothing to do", r.Plan)
	_ = table.Flush() // an error could not be printed either
	printActions(w, r.Apply.ByAction, r.Plan.ByAction)
	if withChain {
		printChain(w, "apply", r.Apply)
		printChain(w, "plan", r.Plan)
	}
}

func printActions(w io.Writer, apply, plan map[string]int) {
	fmt.Fprintln(w, "\ncalls by action (last run)")
	all := maps.Clone(apply)
	for action, n := range plan {
		all[action] += n
	}
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b)) })
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "apply\tplan\t action")
	for _, name := range names {
		fmt.Fprintf(table, "%d\t%d\t %s\n", apply[name], plan[name], name)
	}
	_ = table.Flush()
}

func printChain(w io.Writer, name string, c command) {
	fmt.Fprintf(w, "\nlongest chain of %s (last run)\n", name)
	for _, call := range c.ChainCalls {
		fmt.Fprintln(w, " ", call)
	}
}
