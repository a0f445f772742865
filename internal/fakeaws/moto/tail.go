package moto

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
)

const tailLines = 400 // a few tracebacks

var running = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// answered matches the access log entry of a call that did not fail in moto. The
// log of a Front has more on these.
var answered = regexp.MustCompile(`HTTP/1\.\d" [234]\d\d -\s*$`)

// tail keeps the last lines of moto's stderr and sends the URL that moto prints
// there. Since moto itself chooses the port, no other process can take it in
// between.
type tail struct {
	announced chan string
	copyTo    io.Writer

	mu      sync.Mutex
	partial []byte
	lines   []string
}

func newTail(copyTo io.Writer) *tail {
	if copyTo == nil {
		copyTo = io.Discard
	}
	return &tail{announced: make(chan string, 1), copyTo: copyTo}
}

// Write does not fail, so that a closed copy of stderr does not stop moto.
func (t *tail) Write(p []byte) (int, error) {
	_, _ = t.copyTo.Write(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partial = append(t.partial, p...)
	for {
		end := bytes.IndexByte(t.partial, '\n')
		if end < 0 {
			return len(p), nil
		}
		t.add(string(t.partial[:end+1]))
		t.partial = t.partial[end+1:]
	}
}

func (t *tail) add(line string) {
	if m := running.FindStringSubmatch(line); m != nil {
		select {
		case t.announced <- m[1]:
		default:
		}
	}
	if answered.MatchString(line) {
		return
	}
	t.lines = append(t.lines, line)
	if n := len(t.lines); n > tailLines {
		t.lines = t.lines[n-tailLines:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "") + string(t.partial)
}
