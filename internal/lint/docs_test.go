package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	citation = regexp.MustCompile(`docs/design\.md#([a-z0-9-]+)|\]\((?:\.\./)*(?:docs/)?design\.md#([a-z0-9-]+)\)`)
	link     = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	code     = regexp.MustCompile("`([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+/?)`")
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(page string) []string {
	var all []string
	for line := range strings.Lines(page) {
		if title, isHeading := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); isHeading && strings.HasPrefix(line, "#") {
			all = append(all, strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-"))
		}
	}
	return all
}

func TestCitedSectionsOfTheDesignExist(t *testing.T) {
	sections := anchors(read(t, "docs/design.md"))
	for _, path := range source(t, written...) {
		for _, cited := range citation.FindAllStringSubmatch(read(t, path), -1) {
			if section := cited[1] + cited[2]; !slices.Contains(sections, section) {
				t.Errorf("%s cites docs/design.md#%s; its sections are %v", path, section, sections)
			}
		}
	}
}

func TestLinkedFilesExist(t *testing.T) {
	for _, path := range source(t, "*.md") {
		if strings.HasPrefix(path, "templates/docs/") { // links of the rendered page
			continue
		}
		for _, linked := range link.FindAllStringSubmatch(read(t, path), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), linked[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, linked[1], err)
			}
		}
	}
}

// The step lists are of use only as long as they lead somewhere.
func TestPathsNamedInTheGuidesForContributorsExist(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var top []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "bin" {
			top = append(top, e.Name())
		}
	}
	placeholder := regexp.MustCompile(`\b[A-Z]{4,}\b|NAME`)
	named := 0
	for _, page := range []string{"CONTRIBUTING.md", "README.md", "docs/design.md"} {
		for _, span := range code.FindAllStringSubmatch(read(t, page), -1) {
			path := span[1]
			if first, _, _ := strings.Cut(path, "/"); !slices.Contains(top, first) || placeholder.MatchString(path) {
				continue
			}
			named++
			// internal/cluster.Layout is a name of a package.
			base := regexp.MustCompile(`\.[A-Z]\w*$`).ReplaceAllString(path, "")
			if _, err := os.Stat(filepath.Join(root, base)); err != nil {
				t.Errorf("%s names %s: %v", page, path, err)
			}
		}
	}
	if named < 20 {
		t.Errorf("found %d paths; are they no longer written in backquotes?", named)
	}
}

func TestDecisionRecordsHaveOneFormatAndAreIndexed(t *testing.T) {
	index := read(t, "docs/decisions/README.md")
	sections := regexp.MustCompile(`(?m)^## (.*)$`)
	for _, path := range source(t, "docs/decisions/0*.md") {
		name, page := filepath.Base(path), read(t, path)
		if !regexp.MustCompile(`^# ` + name[:4] + `: .+\n\n- Date: .+\n- Status: .+\n`).MatchString(page) {
			t.Errorf("%s does not begin like 0000-template.md", path)
		}
		var found []string
		for _, section := range sections.FindAllStringSubmatch(page, -1) {
			found = append(found, section[1])
		}
		order := []string{"Context", "Decision", "Consequences", "Alternatives"}
		next := 0
		for _, section := range found {
			at := slices.Index(order, section)
			if at < next {
				t.Errorf("%s has the sections %q; those of 0000-template.md are %q", path, found, order)
				break
			}
			next = at + 1
		}
		if next < 2 || len(found) < 2 {
			t.Errorf("%s has the sections %q; Context and Decision are required", path, found)
		}
		if !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/decisions/README.md does not list %s", name)
		}
	}
}
