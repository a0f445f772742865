package lint

import (
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// importRule is a rule of depguard in .golangci.yml, which is the only place
// where the import rules are written. This test enforces them without
// golangci-lint, so that they hold in every `make check`.
// https://golangci-lint.run/docs/linters/configuration/#depguard
type importRule struct {
	Files []string // globs: $all, $test or below ${base-path}; ! excludes
	Deny  []struct {
		Pkg  string // a prefix of import paths, or one path with $ at its end
		Desc string
	}
}

func importRules(t *testing.T) map[string]importRule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct{ Rules map[string]importRule }
			}
		}
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatalf("read .golangci.yml: %v", err)
	}
	rules := config.Linters.Settings.Depguard.Rules
	if len(rules) == 0 {
		t.Fatal(".golangci.yml has no rules of depguard")
	}
	return rules
}

// appliesTo reports whether the rule covers a file, given relative to the root.
func (r importRule) appliesTo(path string) bool {
	included := false
	for _, glob := range r.Files {
		glob, excludes := strings.CutPrefix(glob, "!")
		if !globRegexp(glob).MatchString(path) {
			continue
		}
		if excludes {
			return false
		}
		included = true
	}
	return included
}

// globRegexp translates a glob of depguard: * stays within a directory, ** does not.
func globRegexp(glob string) *regexp.Regexp {
	switch glob {
	case "$all":
		glob = "**.go"
	case "$test":
		glob = "**_test.go"
	}
	pattern := regexp.QuoteMeta(strings.TrimPrefix(glob, "${base-path}/"))
	pattern = strings.ReplaceAll(pattern, `\*\*`, `.*`)
	pattern = strings.ReplaceAll(pattern, `\*`, `[^/]*`)
	return regexp.MustCompile("^" + pattern + "$")
}

// denies returns why the rule denies an import, or "".
func (r importRule) denies(imported string) string {
	for _, d := range r.Deny {
		exact, isExact := strings.CutSuffix(d.Pkg, "$")
		if isExact && imported == exact || !isExact && strings.HasPrefix(imported, d.Pkg) {
			return d.Desc
		}
	}
	return ""
}

// violations checks one file's imports against all rules.
func violations(rules map[string]importRule, path string, imports []string) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		if !rules[name].appliesTo(path) {
			continue
		}
		for _, imported := range imports {
			if why := rules[name].denies(imported); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s, which rule %s of .golangci.yml denies: %s", path, imported, name, why))
			}
		}
	}
	return found
}

func TestImportRules(t *testing.T) {
	rules := importRules(t)
	for _, path := range source(t, "*.go") {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		var imports []string
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports = append(imports, imported)
		}
		for _, v := range violations(rules, path, imports) {
			t.Error(v)
		}
	}
}

func TestImportRulesRefuseWhatTheyNameAndNothingElse(t *testing.T) {
	const module = "github.com/xeroops/xeroops/"
	rules := importRules(t)
	for _, c := range []struct {
		path, imported string
		denied         bool
	}{
		{"cli/main.go", "node/internal/health", true},
		{"cli/internal/command/x_test.go", "node/internal/health", true},
		{"node/main.go", "node/internal/health", false},
		{"internal/cluster/x.go", "provider/internal/base", true},
		{"internal/cluster/x.go", "scripts/testrun", true},
		{"scripts/x/main.go", "lab/internal/machine", true},
		{"templates/templates.go", "internal/cluster", true},
		{"node/internal/boot/boot.go", "templates", false},
		{"node/internal/boot/boot.go", "internal/testkit/load", true},
		{"node/internal/boot/boot_test.go", "internal/testkit/load", false},
		{"node/internal/s3test/s3test.go", "internal/testkit/mototest", false},
		{"cli/main.go", "internal/fakeaws", true},
		{"lab/internal/supervisor/moto.go", "internal/fakeaws", false},
		{"provider/internal/cluster/launch.go", "provider/internal/cluster/iamrole", false},
		{"provider/internal/cluster/vpnroute/vpnroute.go", "provider/internal/cluster/iamrole", true},
		{"provider/internal/storage/x.go", "provider/internal/cluster/iamrole", true},
		{"provider/internal/cluster/iamrole/iamrole_test.go", "provider/internal/cluster/iamrole", false},
	} {
		found := violations(rules, c.path, []string{module + c.imported})
		if (len(found) > 0) != c.denied {
			t.Errorf("%s imports %s: violations %q, want denied = %t", c.path, c.imported, found, c.denied)
		}
	}
}
