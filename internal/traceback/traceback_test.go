package traceback

import (
	"strings"
	"testing"
)

const log = `INFO:     Started server process [7]
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    f()
KeyError: 'HIDDEN'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in f
    connect()

psycopg.errors.UndefinedTable: relation "notes" does not exist
LINE 1: SELECT * FROM notes
ERROR:    Application startup failed. Exiting.`

func TestCauseIsTheLastExceptionAndNotTheServersLastLine(t *testing.T) {
	for text, want := range map[string]string{
		log: `psycopg.errors.UndefinedTable: relation "notes" does not exist`,
		strings.SplitAfterN(log, "last):\n", 3)[2]:                               `psycopg.errors.UndefinedTable: relation "notes" does not exist`,
		"ERROR:    Traceback (most recent call last):\n  File \"x\"\nSystemExit": "SystemExit",
		"no traceback\nat all":                                                   "",
	} {
		lines := strings.Split(text, "\n")
		got := ""
		if i := Cause(lines); i >= 0 {
			got = lines[i]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestExcerptHasTheExceptionThoughTheServerLogsMuchAfterIt(t *testing.T) {
	long := log + strings.Repeat("\nINFO:     Child process died", 100) + "\nINFO:     Stopping"
	got := Excerpt(long, 4)
	if !strings.HasPrefix(got, "  File") || !strings.Contains(got, "UndefinedTable") || !strings.HasSuffix(got, "…\nINFO:     Stopping") {
		t.Errorf("got %q", got)
	}
	if got := Excerpt(log, 2); !strings.HasSuffix(got, "Exiting.") || !strings.Contains(got, "UndefinedTable") {
		t.Errorf("got %q", got)
	}
	if got := Excerpt("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("got %q", got)
	}
}
