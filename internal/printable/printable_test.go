package printable

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// cases are texts with what is printed of them.
var cases = map[string]string{
	"":                             "",
	"app1: healthy\n\tTraceback…":  "app1: healthy\n\tTraceback…",
	"Größe 日本 ✓ �":                 "Größe 日本 ✓ �",
	"\x1b[2Japp1":                  `\u001b[2Japp1`,
	"\x1b]52;c;cm0gLXJm\x07":       `\u001b]52;c;cm0gLXJm\u0007`,
	"\u009b31m":                    `\u009b31m`, // CSI in one character
	"\x9b31m":                      "\ufffd31m", // and in one byte
	"healthy\rfailed":              `healthy\u000dfailed`,
	"a\bb\x7fc\x00":                `a\u0008b\u007fc\u0000`,
	"abc\u202edef":                 `abc\u202edef`, // right-to-left override
	"a\u200bb\ufeffc\u00a0d\u2028": `a\u200bb\ufeffc\u00a0d\u2028`,
	"\U000e0041":                   `\udb40\udc41`, // a tag, which terminals don't show
}

func TestTextEscapesWhatTerminalsInterpret(t *testing.T) {
	for text, want := range cases {
		if got := Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLineIsOneLine(t *testing.T) {
	if got := Line(" it failed\n\napp2: healthy\x1b[A\r\n"); got != `it failed app2: healthy\u001b[A` {
		t.Errorf("got %q", got)
	}
}

func TestJSONKeepsItsValues(t *testing.T) {
	for text := range cases {
		if !utf8.ValidString(text) {
			continue
		}
		var out bytes.Buffer
		if err := json.NewEncoder(NewWriter(&out)).Encode(map[string]string{"error": text}); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got["error"] != text {
			t.Errorf("%q: %s is %q, %v", text, out.String(), got, err)
		}
		if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), unicode.IsControl) {
			t.Errorf("%q: %q has control characters", text, out.String())
		}
	}
}

func TestWriterTakesRunesInPieces(t *testing.T) {
	for text, want := range cases {
		var out bytes.Buffer
		w := NewWriter(&out)
		for i := range len(text) {
			if n, err := w.Write([]byte{text[i]}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if out.String() != want {
			t.Errorf("%q: %q, want %q", text, out.String(), want)
		}
	}
	if _, err := NewWriter(brokenPipe{}).Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzText(f *testing.F) {
	for text := range cases {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Text(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", text, got)
		}
		var out bytes.Buffer
		w := NewWriter(&out)
		half := len(text) / 2
		_, _ = w.Write([]byte(text[:half]))
		_, _ = w.Write([]byte(text[half:]))
		if utf8.ValidString(text) && out.String() != got {
			t.Fatalf("%q in two pieces became %q, not %q", text, out.String(), got)
		}
		if line := Line(text); strings.ContainsAny(line, "\n\t\r") {
			t.Fatalf("%q became the line %q", text, line)
		}
	})
}
