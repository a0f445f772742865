// Testrun runs go test in stages and summarizes them: the slowest tests, the
// skipped tests with their reasons, the failed tests, and the numbers of each.
//
//	testrun 'unit=./internal/...' 'acceptance=-timeout 20m ./provider/...'
//
// A failed stage does not stop the others. The last line is
// "N passed, N failed, N skipped".
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// parallelPackages limits how many packages are tested at once. The tests start
// servers of their own and have to pass on a machine with two cores.
const parallelPackages = "2"

// longTest is the duration in seconds above which the output of a passed test is
// printed, because it may contain measurements.
const longTest = 10

// slowestTests is how many of the slowest tests the summary lists.
const slowestTests = 10

func main() {
	var all results
	for _, stage := range os.Args[1:] {
		name, args, ok := strings.Cut(stage, "=")
		if !ok {
			fmt.Fprintf(os.Stderr, "testrun: %q does not have the form NAME=ARGUMENTS OF GO TEST\n", stage)
			os.Exit(2)
		}
		started := time.Now()
		fmt.Printf("== %s\n", name)
		if err := run(strings.Fields(args), &all); err != nil {
			all.failed = append(all.failed, fmt.Sprintf("%s: %v", name, err))
		}
		fmt.Printf("== %s: %s\n", name, time.Since(started).Round(time.Second))
	}
	all.summarize(os.Stdout)
	if len(all.failed) > 0 {
		os.Exit(1)
	}
}

// run runs one stage and adds its tests to all. It returns an error if go test
// failed although no test did.
func run(args []string, all *results) error {
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-p", parallelPackages}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := len(all.failed)
	if err := all.read(out, os.Stdout); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil && len(all.failed) == before {
		return err
	}
	return nil
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// results holds the outcomes of all stages so far.
type results struct {
	timed   []timedTest // top-level tests
	passed  int
	failed  []string
	skipped []string // with the reason
}

type timedTest struct {
	name    string
	seconds float64
}

// read reads the events of one go test. It prints a line per package, and the
// output of the failed and the long tests.
func (r *results) read(in io.Reader, out io.Writer) error {
	output := map[string]*strings.Builder{} // by package and test
	failedIn := map[string]int{}            // tests that failed, by package
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24) // a line holds one line of output, of any length
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text()) // output of the go command itself
			continue
		}
		key := e.Package + e.ImportPath + " " + e.Test
		text := output[key]
		if text == nil {
			text = &strings.Builder{}
			output[key] = text
		}
		text.WriteString(e.Output)
		switch {
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Test != "":
			r.test(e, text.String(), failedIn, out)
		case e.Action == "pass" || e.Action == "fail":
			r.pkg(e, text.String(), failedIn[e.Package], out)
		}
	}
	return lines.Err()
}

func (r *results) test(e event, text string, failedIn map[string]int, out io.Writer) {
	name := e.Package + "." + e.Test
	if ended := e.Action == "pass" || e.Action == "fail"; ended && !strings.Contains(e.Test, "/") {
		r.timed = append(r.timed, timedTest{name, e.Elapsed})
	}
	switch e.Action {
	case "pass":
		r.passed++
		if e.Elapsed >= longTest {
			fmt.Fprint(out, text)
		}
	case "skip":
		r.skipped = append(r.skipped, name+": "+reason(text))
	case "fail":
		r.failed = append(r.failed, name)
		failedIn[e.Package]++
		fmt.Fprint(out, text)
	}
}

// pkg prints the line of a package. A package that failed although none of its
// tests did, for example because it does not compile, counts as a failure.
func (r *results) pkg(e event, text string, failedTests int, out io.Writer) {
	status := "ok  "
	if e.Action == "fail" {
		status = "FAIL"
		if failedTests == 0 {
			r.failed = append(r.failed, e.Package)
			fmt.Fprint(out, text)
		}
	}
	fmt.Fprintf(out, "%s %s (%.1f s)\n", status, e.Package, e.Elapsed)
}

// reason returns the output of a skipped test without the lines that go test
// adds.
func reason(text string) string {
	var reasons []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if at := strings.Index(line, ".go:"); at >= 0 { // file.go:12: reason
			if _, after, ok := strings.Cut(line[at+len(".go:"):], ": "); ok {
				line = after
			}
		}
		reasons = append(reasons, line)
	}
	if len(reasons) == 0 {
		return "no reason given"
	}
	return strings.Join(reasons, "; ")
}

// slowest lists the slowest tests with their seconds.
func (r *results) slowest() []string {
	tests := slices.Clone(r.timed)
	slices.SortStableFunc(tests, func(a, b timedTest) int { return cmp.Compare(b.seconds, a.seconds) })
	var lines []string
	for _, t := range tests[:min(len(tests), slowestTests)] {
		lines = append(lines, fmt.Sprintf("%7.1f s  %s", t.seconds, t.name))
	}
	return lines
}

func (r *results) summarize(out io.Writer) {
	list := func(title string, items []string) {
		if len(items) == 0 {
			return
		}
		fmt.Fprintf(out, "\n%s:\n", title)
		for _, item := range items {
			fmt.Fprintf(out, "  %s\n", item)
		}
	}
	list(fmt.Sprintf("Slowest %d tests", slowestTests), r.slowest())
	list("Skipped", r.skipped)
	list("Failed", r.failed)
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
}
