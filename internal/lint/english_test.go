package lint

import (
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// riddles are phrases that CONTRIBUTING.md ("Language") rules out: sentences whose
// subject has no noun, and everyday words in place of the field's term.
var riddles = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{phrase(`says? whether`), `"reports whether"`},
	{phrase(`(is|are) none of`), `an error that names the valid values: "unknown key %q; valid keys: %s"`},
	{phrase(`what (it|he|she) is like|what (it|that) is that`), `the property itself: "the format of …", "why …"`},
	{regexp.MustCompile(`(?i)\b(for|of|to|by|from|with|than|asks?|tells?|lets?) who (?:[a-z]+s|can|could|may|has|had)\b`), `a noun: "for callers that …"`},
	{regexp.MustCompile(`(^|[.:;] )Who [a-z]+(ed|s)? [^?]*$`), `a noun as the subject: "a client that …"`},
	{phrase(`mend(s|ed|ing)?`), `"fix", "correct" or "repair"`},
	{phrase(`glanc(e|es|ed|ing)`), `"check" or "poll"`},
	{phrase(`folders?`), `"directory"`},
	{phrase(`(is|are|was|were|no) news`), `"changed" or "differs"`},
	{phrase(`(systemd|node|process|kernel|everybody)'s (own )?word`), `"state" or "report"`},
	{phrase(`(its|their|last) own words?|last words`), `"state", "report" or "last lines of the journal"`},
	{phrase(`without a word`), `"silently" or "without an error"`},
	{phrase(`(not )?all is well`), `an event: "reconcile failed, retrying"`},
	{phrase(`for ever`), `"forever" or "indefinitely"`},
	{phrase(`(is|are|was|were|be) made anew`), `"recreated" or "rebuilt"`},
	{phrase(`(see|shows?|tells?|says?|reads?|report|and) how (it|they|things|nodes?|each node) (is|are|goes|go)`), `"the state of …"`},
	{phrase(`what is there`), `"what exists", or the noun`},
	{phrase(`amiss`), `the problem itself`},
	{regexp.MustCompile(`\b(DESIGN|FACTS)\.md\b`), `docs/design.md#section, or the fact with its public source`},
}

func phrase(words string) *regexp.Regexp { return regexp.MustCompile(`(?i)\b(` + words + `)\b`) }

// remarks returns what the lint finds in one line of prose.
func remarks(line string) []string {
	var found []string
	for _, r := range riddles {
		if words := r.pattern.FindString(line); words != "" {
			found = append(found, fmt.Sprintf("write %s in place of %q", r.instead, strings.TrimSpace(words)))
		}
	}
	return found
}

// prose returns the lines of a file that people read, by line number: of Go
// files, comments and strings; of others, everything.
func prose(path string, text []byte) map[int][]string {
	lines := map[int][]string{}
	add := func(first int, text string) {
		for n, line := range strings.Split(text, "\n") {
			lines[first+n] = append(lines[first+n], line)
		}
	}
	if filepath.Ext(path) != ".go" {
		add(1, string(text))
		return lines
	}
	var s scanner.Scanner
	files := token.NewFileSet()
	s.Init(files.AddFile(path, -1, len(text)), text, nil, scanner.ScanComments)
	for {
		pos, kind, literal := s.Scan()
		switch kind {
		case token.EOF:
			return lines
		case token.COMMENT:
			add(files.Position(pos).Line, strings.TrimPrefix(literal, "// "))
		case token.STRING:
			add(files.Position(pos).Line, strings.Trim(literal, "\"`"))
		}
	}
}

func TestProseIsPlainEnglish(t *testing.T) {
	for _, path := range source(t, written...) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for number, lines := range prose(path, text) {
			for _, line := range lines {
				for _, remark := range remarks(line) {
					t.Errorf("%s:%d: %s", path, number, remark)
				}
			}
		}
	}
}

func TestTheLintFindsRiddlesInCommentsAndStringsAlone(t *testing.T) {
	sample := []byte(`package sample

// Healthy says whether a node is well. Folders are left alone.
func mend(folder string) error {
	return errors.New("role is none of those; look into the folder")
}

/* Who asks the registry
   gets its password. */
`)
	found := map[int]int{}
	for number, lines := range prose("sample.go", sample) {
		for _, line := range lines {
			found[number] += len(remarks(line))
		}
	}
	for number, want := range map[int]int{3: 2, 4: 0, 5: 2} {
		if found[number] != want {
			t.Errorf("line %d of a Go file: %d remarks, want %d", number, found[number], want)
		}
	}
	if whole := prose("sample.md", sample); !slices.Contains(whole[4], "func mend(folder string) error {") {
		t.Errorf("of other files everything is read, got %q", whole[4])
	}
}

func TestEachPatternOfTheLint(t *testing.T) {
	for _, bad := range []string{
		"Ended says whether nothing more comes.",
		"health check %q is none of tcp, http, unit",
		"this is what it is like, and what it is not",
		"ReadEntries is for who can do without some of them.",
		"Who reads one sees the content of before.",
		"Run it again when that is mended.",
		"a glance at the interface costs nothing",
		"layers are folders, never written to once made",
		"differs is true if that is news",
		"systemd's word on the unit",
		"a service that ended has last words, too",
		"pools keep connections open without a word",
		"not all is well, trying again",
		"It is tried again for ever.",
		"the table is made anew",
		"See how it is.",
		"It looks at what is there, by tag.",
		"error says what is amiss",
		"the contract is in DESIGN" + ".md",
	} {
		if len(remarks(bad)) == 0 {
			t.Errorf("no remark on %q", bad)
		}
	}
	for _, good := range []string{
		"Healthy reports whether the node is healthy.",
		"who may connect to each port",
		"the user who deployed it",
		"Who may read this object?",
		"`remote_folder` is Packer's name of the setting",
		"recommended, amended",
	} {
		if found := remarks(good); len(found) > 0 {
			t.Errorf("%q: %v", good, found)
		}
	}
}
