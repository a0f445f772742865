// Awscalls prints docs/aws-calls.md: the AWS calls that the code makes, with what
// internal/awscalls knows of them. With an argument, it also writes the operators' IAM
// policies to that directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xeroops/xeroops/internal/awscalls"
)

const head = `# AWS calls

The calls that the released programs make, which of AWS's errors they distinguish, and how. This page is generated from the code and
` + "`" + awscalls.TablePath + "`" + `; a call without a row there fails ` + "`make check`" + `.

- *repeat* is what a repeated call does, and when its result is visible to other calls (eventual consistency).
- An error marked *retried* is repeated until it succeeds or the time in ` + "`internal/awswait`" + ` is over. Those without a test of their own occur once each in
  ` + "`TestEveryRetriedErrorIsSurvived`" + `, which applies and destroys the complete example.
- Every other error ends the run with a diagnostic that has the operation, AWS's code, message and request id.
- In an apply, each mutating call also fails, is throttled, and loses its response in ` + "`TestInterruptedApplyIsRepairedByTheNext`" + `; in an image build, in
  ` + "`TestAnInterruptedBuildLeavesNothing`" + `.
- The permissions for these calls are in [guides/aws.md](guides/aws.md#permissions).
`

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "awscalls:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, policies []string) error {
	table, err := awscalls.Load()
	if err != nil {
		return err
	}
	sites, err := awscalls.Find(context.Background(), ".")
	if err != nil {
		return err
	}
	if err := errors.Join(table.Check(sites)...); err != nil {
		return err
	}
	print(out, table, makersOf(sites))
	for _, dir := range policies {
		if err := writePolicies(dir, table, sites); err != nil {
			return err
		}
	}
	return nil
}

func writePolicies(dir string, table awscalls.Table, sites []awscalls.Site) error {
	policies, err := table.Policies(sites)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, policy := range policies {
		text, err := policy.JSON()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".json"), text, 0o644) //nolint:gosec // a public document
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makersOf returns who makes each call.
func makersOf(sites []awscalls.Site) map[string]string {
	names := map[string][]string{}
	for _, s := range sites {
		names[s.Action] = append(names[s.Action], s.Maker())
	}
	joined := map[string]string{}
	for action, of := range names {
		slices.Sort(of)
		joined[action] = strings.Join(slices.Compact(of), ", ")
	}
	return joined
}

func print(out io.Writer, table awscalls.Table, makers map[string]string) {
	_, _ = fmt.Fprint(out, head)
	service := ""
	for _, action := range slices.Sorted(maps.Keys(table)) {
		of, operation, _ := strings.Cut(action, ":")
		if of != service {
			service = of
			_, _ = fmt.Fprintf(out, "\n## %s\n\n| operation | made by | repeat | errors | test |\n|---|---|---|---|---|\n", service)
		}
		call := table[action]
		if operation == "*" {
			operation = "every call"
		}
		_, _ = fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", operation, makers[action], call.Repeat, errorCell(call.Errors), code(call.Test))
	}
}

func errorCell(all []awscalls.Error) string {
	var lines []string
	for _, e := range all {
		line := fmt.Sprintf("`%s` (%d): %s", e.Code, e.Status, e.Then)
		if e.Retry {
			line = fmt.Sprintf("`%s` (%d), *retried*: %s", e.Code, e.Status, e.Then)
		}
		if e.Test != "" {
			line += "; " + code(e.Test)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "<br>")
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
