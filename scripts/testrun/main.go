// Testrun runs go test in several stages side by side and summarizes them: the
// slowest tests, the skipped tests with their reasons, the failed tests, and the
// numbers of each.
//
//	testrun 'unit=./internal/...' 'acceptance=-p 2 -timeout 20m ./provider/...'
//
// A stage tests its packages one after the other, in the order given, unless its
// arguments say -p. A failed stage does not stop the others. The last line is
// "N passed, N failed, N skipped".
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// garbageCollection is GOGC for the tests and what they start: 60 % of the CPU
// time of acceptance tests goes into hundreds of short runs of Terraform, which
// need a sixth less of it with 400 than with the default of 100.
const garbageCollection = "GOGC=400"

// longTest is the duration in seconds above which the output of a passed test is
// printed, because it may contain measurements.
const longTest = 10

// slowestTests is how many of the slowest tests the summary lists.
const slowestTests = 10

func main() {
	var stages []stage
	for _, arg := range os.Args[1:] {
		name, args, ok := strings.Cut(arg, "=")
		if !ok {
			fmt.Fprintf(os.Stderr, "testrun: %q does not have the form NAME=ARGUMENTS OF GO TEST\n", arg)
			os.Exit(2)
		}
		stages = append(stages, stage{name: name, args: strings.Fields(args)})
	}
	out := &lockedWriter{w: os.Stdout}
	var running sync.WaitGroup
	for i := range stages {
		running.Go(func() { stages[i].run(out) })
	}
	running.Wait()
	var all results
	for _, s := range stages {
		all.add(s.results)
	}
	all.summarize(out)
	if len(all.failed) > 0 {
		os.Exit(1)
	}
}

// stage is one go test.
type stage struct {
	name string
	args []string
	results
}

// run runs the stage. A go test that failed although no test did counts as a
// failure.
func (s *stage) run(out io.Writer) {
	started := time.Now()
	fmt.Fprintf(out, "== %s begins\n", s.name)
	if err := s.goTest(out); err != nil && len(s.failed) == 0 {
		s.failed = append(s.failed, fmt.Sprintf("%s: %v", s.name, err))
	}
	fmt.Fprintf(out, "== %s: %s\n", s.name, time.Since(started).Round(time.Second))
}

func (s *stage) goTest(out io.Writer) error {
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-p", "1"}, s.args...)...)
	cmd.Env = append(os.Environ(), garbageCollection)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return errors.Join(s.read(events, out), cmd.Wait())
}

// lockedWriter keeps what several stages write at once apart.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
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

// results holds the outcomes of one or all stages.
type results struct {
	timed   []timedTest // top-level tests
	passed  int
	failed  []string
	skipped []string // with the reason
}

// add adds the outcomes of another stage.
func (r *results) add(o results) {
	r.timed = append(r.timed, o.timed...)
	r.passed += o.passed
	r.failed = append(r.failed, o.failed...)
	r.skipped = append(r.skipped, o.skipped...)
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
