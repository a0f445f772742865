package pep

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// attacks are what must never reach a file's path or pip's input.
var attacks = []string{
	"", " ", "-", ".", "..", "../../etc/passwd", "/etc/passwd", `a\b`, "a/b", "a\x00b",
	"--find-links", "--no-binary", "-r", "--find-links=http://10.0.2.10/", "a\n--no-binary=:all:", "a\r--pre", "a b", "a #", "a;b", "a@file:///x", "a[b]", "a*", "a==1",
	"\x1b[2J", "a\x1b[31m", "a\u202eb", "\u017f", "1\u212a", "a\x7f", "a\u009b", "\xff", "${HOME}", "$(id)", "%s", strings.Repeat("a", 1000),
}

// valid are texts that each parser takes, with their normal form.
var valid = map[string]map[string]string{
	"name": {
		"fastapi": "fastapi", "Typing_Extensions": "typing-extensions", "zope.interface": "zope-interface", "a-._-b": "a-b", "A": "a", "3to2": "3to2",
	},
	"version": {
		"1": "1", "1.0": "1.0", "0.115.11": "0.115.11", "2024.07.04": "2024.7.4", "0001": "1", "0": "0", "1!2.0": "1!2.0", "0!1": "1",
		"1.0a1": "1.0a1", "1.0-ALPHA.1": "1.0a1", "1.0.beta": "1.0b0", "1.0c3": "1.0rc3", "1.0-preview": "1.0rc0", "1.0rc01": "1.0rc1",
		"1.0.post1": "1.0.post1", "1.0-1": "1.0.post1", "1.0rev2": "1.0.post2", "1.0-r": "1.0.post0", "1.0.dev": "1.0.dev0", "1.0a1.post2.dev3": "1.0a1.post2.dev3",
		"1.0+Deb13_u-01": "1.0+deb13.u.1", "1.0+0a": "1.0+0a", "2.0+0.0": "2.0+0.0",
	},
	"python":   {"3.13": "3.13", "3.9": "3.9", "3.0": "3.0"},
	"platform": {"manylinux_2_41_x86_64": "manylinux_2_41_x86_64", "manylinux_2_5_i686": "manylinux_2_5_i686", "manylinux_2_17_aarch64": "manylinux_2_17_aarch64"},
	"wheel": {
		"notes-1.0-py3-none-any.whl":                                 "notes-1.0-py3-none-any.whl",
		"Zope.Interface-7.2-cp313-cp313-manylinux_2_17_x86_64.whl":   "zope_interface-7.2-cp313-cp313-manylinux_2_17_x86_64.whl",
		"six-1.16.0-1-py2.py3-none-any.whl":                          "six-1.16.0-1-py2.py3-none-any.whl",
		"a-1!2+deb-py3-none-manylinux_2_17_x86_64.manylinux2014.whl": "a-1!2+deb-py3-none-manylinux_2_17_x86_64.manylinux2014.whl",
	},
}

// invalid are texts that a parser refuses, besides the attacks.
var invalid = map[string][]string{
	"name":     {"-a", "a-", "_a", "a.", "é"},
	"version":  {"v1", "1.", ".1", "1..2", "1.0+", "1.0+really~2", "1.0+a..b", "1 .0", " 1", "1\n", "1.0-", "a1", "1.0a1b2", "1.0.dev1.post1", "1:2", "unknown"},
	"python":   {"3", "3.013", "3.13.1", "2.7", "3.x", "03.1", "3.100"},
	"platform": {"linux_x86_64", "manylinux2014_x86_64", "manylinux_2_017_x86_64", "manylinux_3_1_x86_64", "manylinux_2_41_", "manylinux_2_41_x86-64", "manylinux_2_41_x86_64/..", "win_amd64", "any", "manylinux_2_100_x86_64"},
	"wheel":    {"notes-1.0.whl", "notes-1.0-py3-none-any.zip", "notes-1.0-x-py3-none-any.whl", "notes-1.0-1-1-py3-none-any.whl", "-1.0-py3-none-any.whl", "../a-1.0-py3-none-any.whl", "a-1.0-py3-none-a/b.whl", "a-1.0-py3-none-.whl"},
}

var parsers = map[string]func(string) (string, error){
	"name":     func(s string) (string, error) { v, err := ParseName(s); return string(v), err },
	"version":  func(s string) (string, error) { v, err := ParseVersion(s); return string(v), err },
	"python":   func(s string) (string, error) { v, err := ParsePython(s); return string(v), err },
	"platform": func(s string) (string, error) { v, err := ParsePlatform(s); return string(v), err },
	"wheel":    parseWheel,
}

func parseWheel(s string) (string, error) {
	w, err := ParseWheelFile(s)
	if err != nil {
		return "", err
	}
	return w.String(), nil
}

func TestParsersNormalize(t *testing.T) {
	for kind, parse := range parsers {
		for text, want := range valid[kind] {
			if got, err := parse(text); err != nil || got != want {
				t.Errorf("%s %q: %q, %v, want %q", kind, text, got, err, want)
			}
		}
	}
}

func TestParsersRefuse(t *testing.T) {
	for kind, parse := range parsers {
		for _, text := range slices.Concat(attacks, invalid[kind]) {
			if got, err := parse(text); !errors.As(err, new(*SyntaxError)) || got != "" {
				t.Errorf("%s %q: %q, %v", kind, text, got, err)
			}
		}
	}
}

func TestErrorsAreShortAndPrintable(t *testing.T) {
	_, err := ParseName("\x1b[2J" + strings.Repeat("a", 1<<20))
	if err == nil || len(err.Error()) > 300 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %.400v", err)
	}
}

func TestJSONIsParsed(t *testing.T) {
	type facts struct {
		Python        Python
		Platform      Platform
		Distributions map[Name]Version
	}
	var f facts
	if err := json.Unmarshal([]byte(`{"Python": "3.13", "Platform": "manylinux_2_41_x86_64", "Distributions": {"Zope.Interface": "7.02"}}`), &f); err != nil {
		t.Fatal(err)
	}
	if f.Distributions["zope-interface"] != "7.2" {
		t.Errorf("got %v", f)
	}
	for _, text := range []string{
		`{"Python": "3.13/.."}`, `{"Platform": "../x"}`, `{"Distributions": {"a": "1 --pre"}}`, `{"Distributions": {"--pre": "1"}}`, `{"Python": 3.13}`,
	} {
		if err := json.Unmarshal([]byte(text), &f); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestCompatiblePlatforms(t *testing.T) {
	got := Platform("manylinux_2_17_x86_64").Compatible()
	want := []string{"manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64"}
	if !slices.Equal(got[:3], want) || got[len(got)-2] != "manylinux1_x86_64" || got[len(got)-1] != "linux_x86_64" {
		t.Errorf("got %v", got)
	}
}

// TestPythonsOwnParserAgrees compares with packaging, which pip uses.
func TestPythonsOwnParserAgrees(t *testing.T) {
	const script = `
import json, sys
from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename
from pip._vendor.packaging.version import Version
def attempt(f, text):
    try: return f(text)
    except Exception: return None
cases = json.load(sys.stdin)
json.dump({
    "name": {t: canonicalize_name(t) for t in cases["name"]},
    "version": {t: attempt(lambda t: str(Version(t)), t) for t in cases["version"]},
    "wheel": {t: attempt(lambda t: "%s %s" % parse_wheel_filename(t)[:2], t) for t in cases["wheel"]},
}, sys.stdout)`
	if exec.Command("python3", "-c", "import pip._vendor.packaging.utils").Run() != nil {
		t.Skip("needs python3 with pip")
	}
	cases := map[string][]string{"version": slices.Clone(invalid["version"])}
	for kind, texts := range valid {
		for text := range texts {
			cases[kind] = append(cases[kind], text)
		}
	}
	pre, post := []string{"", "a", ".B2", "-rc_3", "preview09"}, []string{"", "-4", ".post", "_rev5", "r07"}
	for _, release := range []string{"0", "1.2", "3!04.0.5"} {
		for _, pre := range pre {
			for _, post := range post {
				for _, tail := range []string{"", "dev", ".DEV6", "+x", "-dev-7+00.A-b_9"} {
					cases["version"] = append(cases["version"], release+pre+post+tail)
				}
			}
		}
	}
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", script)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs map[string]map[string]*string
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for kind, texts := range theirs {
		for text, want := range texts {
			got, err := parsers[kind](text)
			if kind == "wheel" && err == nil {
				w, _ := ParseWheelFile(text)
				got = string(w.Name) + " " + string(w.Version)
			}
			compared++
			switch {
			case err == nil && (want == nil || got != *want):
				t.Errorf("%s %q: %q, packaging has %v", kind, text, got, want)
			case err != nil && want != nil && strings.TrimLeft(strings.TrimSpace(text), "v") == text: // which packaging forgives
				t.Errorf("%s %q: %v, packaging has %s", kind, text, err, *want)
			}
		}
	}
	if compared < 300 {
		t.Errorf("compared %d texts only", compared)
	}
}

func fuzz(f *testing.F, kind string) {
	for text := range valid[kind] {
		f.Add(text)
	}
	for _, text := range slices.Concat(attacks, invalid[kind]) {
		f.Add(text)
	}
	parse := parsers[kind]
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parse(text)
		if err != nil {
			if !errors.As(err, new(*SyntaxError)) || got != "" {
				t.Fatalf("%q: %q, %v", text, got, err)
			}
			return
		}
		for _, value := range []string{text, got} { // both reach paths and pip
			if filepath.Base(value) != value || strings.HasPrefix(value, "-") || strings.HasPrefix(value, ".") || strings.ContainsFunc(value, unsafe) {
				t.Fatalf("%q was taken, as %q", text, got)
			}
		}
		if again, err := parse(got); err != nil || again != got {
			t.Fatalf("%q became %q, and that %q, %v", text, got, again, err)
		}
	})
}

func unsafe(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("/\\#;@=<>~,\"'`$&|*?()[]{}%^:", r)
}

func FuzzName(f *testing.F)     { fuzz(f, "name") }
func FuzzVersion(f *testing.F)  { fuzz(f, "version") }
func FuzzPython(f *testing.F)   { fuzz(f, "python") }
func FuzzPlatform(f *testing.F) { fuzz(f, "platform") }
func FuzzWheel(f *testing.F)    { fuzz(f, "wheel") }
