package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/xeroops/xeroops/internal/awscalls"
)

// TestEveryAWSCallHasARow checks docs/aws-calls.md's table against the code: a new
// call needs a row before it is released.
func TestEveryAWSCallHasARow(t *testing.T) {
	table, err := awscalls.Load()
	if err != nil {
		t.Fatal(err)
	}
	sites, err := awscalls.Find(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range table.Check(sites) {
		t.Error(problem)
	}
	if len(sites) < 100 {
		t.Errorf("only %d calls were found in the code", len(sites))
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

func TestTheTestsOfAWSCallsExist(t *testing.T) {
	table, err := awscalls.Load()
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, path := range source(t, "*_test.go") {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range testFunction.FindAllStringSubmatch(string(text), -1) {
			exist[match[1]] = true
		}
	}
	for _, name := range table.Tests() {
		if !exist[name] {
			t.Errorf("%s names the test %s, which does not exist", awscalls.TablePath, name)
		}
	}
}
