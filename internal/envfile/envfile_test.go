package envfile

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
)

func TestParseReturnsWhatFormatWrote(t *testing.T) {
	values := []string{"", "plain", " spaces ", `quote " and '`, `back\slash`, "$HOME `id` $(id)", "two\nlines", "#hash", "ünïcode", `trailing\`}
	for _, v := range values {
		text, err := Format(map[string]string{"X": v})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
		if !maps.Equal(got, map[string]string{"X": v}) {
			t.Errorf("%q came back as %q", v, got["X"])
		}
	}
}

func TestShellReadsWhatFormatWrote(t *testing.T) {
	want := "a \"b\" 'c' $HOME `id` \\ d"
	text, err := Format(map[string]string{"X": want})
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command("sh", "-c", text+`printf %s "$X"`).Output()
	if err != nil || string(got) != want {
		t.Errorf("sh read %q as %q (%v)", text, got, err)
	}
}

func TestParse(t *testing.T) {
	cases := map[string]struct {
		text string
		want map[string]string
	}{
		"comments and blank lines": {"# a\n\n; b\nX=1\n", map[string]string{"X": "1"}},
		"the last one wins":        {"X=1\nX=2", map[string]string{"X": "2"}},
		"white space at the end":   {"X=a b \t\nY=1", map[string]string{"X": "a b", "Y": "1"}},
		"quoted white space":       {`X=" a "`, map[string]string{"X": " a "}},
		"single quotes are plain":  {`X='a\b$c'`, map[string]string{"X": `a\b$c`}},
		"a continued line":         {"X=a\\\nb", map[string]string{"X": "ab"}},
		"parts put together":       {`X=a"b"'c'`, map[string]string{"X": "abc"}},
		"unknown escape is kept":   {`X="a\nb"`, map[string]string{"X": `a\nb`}},
		"CRLF":                     {"X=1\r\nY=2\r\n", map[string]string{"X": "1", "Y": "2"}},
	}
	for name, c := range cases {
		got, err := Parse(c.text)
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: Parse(%q) = %v, %v; want %v", name, c.text, got, err, c.want)
		}
	}
}

func TestParseErrorsNameTheLineButNotTheSecret(t *testing.T) {
	for _, text := range []string{"A=1\n1PASSWORD=hunter2", "A=1\nB=\"hunter2", "A=1\nhunter=2 4=2\nPASS WORD=hunter2"} {
		_, err := Parse(text)
		if err == nil {
			t.Errorf("Parse(%q) is no error", text)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
		if !strings.Contains(err.Error(), "line ") {
			t.Errorf("the error names no line: %v", err)
		}
	}
}

func TestFormatRejectsInvalidNamesAndValues(t *testing.T) {
	for name, vars := range map[string]map[string]string{
		"name":     {"A B": "1"},
		"digit":    {"1A": "1"},
		"NUL":      {"A": "\x00"},
		"not UTF8": {"A": "\xff"},
	} {
		if text, err := Format(vars); err == nil {
			t.Errorf("%s: Format = %q, want an error", name, text)
		}
	}
}
