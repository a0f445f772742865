// Testrun runs go test in stages and ends with what a reader of a long log asks
// first: which tests were skipped and why, and how many passed and failed.
//
//	testrun 'unit=./internal/...' 'acceptance=-timeout 20m ./provider/...'
//
// Every stage is run, also after one that failed. The last line is
// "N passed, N failed, N skipped".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// parallelPackages is how many packages are tested at once: the tests start
// servers of their own, and a machine of two cores is what they have to pass on.
const parallelPackages = "2"

// longTest is from how many seconds on a test that passed is worth a line while the
// stage goes on, and what it logged, such as a figure, worth reading.
const longTest = 10

func main() {
	var all results
	for _, stage := range os.Args[1:] {
		name, args, ok := strings.Cut(stage, "=")
		if !ok {
			fmt.Fprintf(os.Stderr, "testrun: %q is not of the form NAME=ARGUMENTS OF GO TEST\n", stage)
			os.Exit(2)
		}
		begun := time.Now()
		fmt.Printf("== %s\n", name)
		if err := run(strings.Fields(args), &all); err != nil {
			all.failed = append(all.failed, fmt.Sprintf("%s: %v", name, err))
		}
		fmt.Printf("== %s: %s\n", name, time.Since(begun).Round(time.Second))
	}
	all.summarize(os.Stdout)
	if len(all.failed) > 0 {
		os.Exit(1)
	}
}

// run runs one stage and adds its tests to all. The error is for a stage that
// failed without a test that did.
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

// results are the tests of all stages so far.
type results struct {
	passed  int
	failed  []string
	skipped []string // with the reason
}

// read takes the events of one go test, and prints a line per package and what
// the failed and the long tests said.
func (r *results) read(in io.Reader, out io.Writer) error {
	output := map[string]*strings.Builder{} // by package and test
	failedIn := map[string]int{}            // tests that failed, by package
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24) // a line holds one line of output, which may be long
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text()) // what go itself says
			continue
		}
		key := e.Package + e.ImportPath + " " + e.Test
		said := output[key]
		if said == nil {
			said = &strings.Builder{}
			output[key] = said
		}
		said.WriteString(e.Output)
		switch {
		case e.Action == "build-output":
			fmt.Fprint(out, e.Output)
		case e.Test != "":
			r.test(e, said.String(), failedIn, out)
		case e.Action == "pass" || e.Action == "fail":
			r.pkg(e, said.String(), failedIn[e.Package], out)
		}
	}
	return lines.Err()
}

func (r *results) test(e event, said string, failedIn map[string]int, out io.Writer) {
	name := e.Package + "." + e.Test
	switch e.Action {
	case "pass":
		r.passed++
		if e.Elapsed >= longTest {
			fmt.Fprint(out, said)
		}
	case "skip":
		r.skipped = append(r.skipped, name+": "+reason(said))
	case "fail":
		r.failed = append(r.failed, name)
		failedIn[e.Package]++
		fmt.Fprint(out, said)
	}
}

// pkg reports a package. One that failed without a failed test did not build, or
// died outside of its tests: that counts as a failure too.
func (r *results) pkg(e event, said string, failedTests int, out io.Writer) {
	word := "ok  "
	if e.Action == "fail" {
		word = "FAIL"
		if failedTests == 0 {
			r.failed = append(r.failed, e.Package)
			fmt.Fprint(out, said)
		}
	}
	fmt.Fprintf(out, "%s %s (%.1f s)\n", word, e.Package, e.Elapsed)
}

// reason is what a skipped test said, without the lines of go test itself.
func reason(said string) string {
	var reasons []string
	for line := range strings.Lines(said) {
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
		return "gave no reason"
	}
	return strings.Join(reasons, "; ")
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
	list("Skipped", r.skipped)
	list("Failed", r.failed)
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
}
