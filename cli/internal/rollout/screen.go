package rollout

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/xeroops/xeroops/internal/printable"
	"github.com/xeroops/xeroops/internal/traceback"
)

// Screen shows a deployment: on a terminal as a table that is redrawn in place,
// otherwise, or if the terminal has fewer lines than the table, as a line per change.
type Screen struct {
	out     io.Writer
	frames  io.Writer                   // out without escaping, for terminal control
	size    func() (columns, lines int) // of the terminal; nil elsewhere
	drawn   int                         // lines of the table that is on the terminal
	last    map[string]State
	problem bool
}

// The size of a terminal that does not report it.
const (
	defaultColumns = 80
	defaultLines   = 24
)

// NewScreen returns a screen that writes to out.
func NewScreen(out io.Writer) *Screen {
	s := &Screen{out: out, frames: out, last: map[string]State{}}
	if w, ok := out.(*printable.Writer); ok {
		s.frames = w.Unwrap()
	}
	if file, ok := s.frames.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		s.size = func() (columns, lines int) {
			columns, lines, _ = term.GetSize(int(file.Fd())) // 0 if it fails
			return cmp.Or(columns, defaultColumns), cmp.Or(lines, defaultLines)
		}
	}
	return s
}

// Show shows a status.
func (s *Screen) Show(status Status) {
	if s.size != nil {
		// Plus the header, a problem, and the cursor's line.
		if columns, lines := s.size(); len(status.Nodes)+3 <= lines {
			s.draw(status, columns)
			return
		}
	}
	if (status.Problem != nil) != s.problem {
		if s.problem = status.Problem != nil; s.problem {
			fmt.Fprintf(s.out, "registry does not respond, retrying: %v\n", status.Problem)
		} else {
			fmt.Fprintln(s.out, "registry responds again")
		}
	}
	for _, n := range status.Nodes {
		if s.last[n.Name] == n.State {
			continue
		}
		s.last[n.Name] = n.State
		fmt.Fprintln(s.out, strings.TrimRight(fmt.Sprintf("%s: %s (%s) %s", n.Name, n.State, elapsed(n), printable.Line(operation(n.Error))), " "))
	}
}

// draw overwrites the previous table. One write sends all of it, so that no partial
// table is visible.
func (s *Screen) draw(status Status, width int) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tELAPSED\tDETAIL")
	for _, n := range status.Nodes {
		fmt.Fprintln(w, printable.Row(n.Name, n.State, elapsed(n), Summary(n.Error)))
	}
	_ = w.Flush() // a strings.Builder returns no error
	if status.Problem != nil {
		fmt.Fprintf(&table, "registry does not respond, retrying: %s\n", printable.Line(Summary(status.Problem.Error())))
	}
	var frame strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&frame, "\x1b[%dA\x1b[J", s.drawn) // move up, and clear to the end
	}
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	for _, line := range lines {
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:width-1]) + "…" // a wrapped line could not be overwritten
		}
		frame.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.frames, frame.String()) // a terminal that is gone cannot be handled
}

func elapsed(n Node) string {
	if n.State == StateAbsent {
		return "-"
	}
	return (time.Duration(n.ElapsedMS) * time.Millisecond).Round(100 * time.Millisecond).String()
}

// operation returns the first line of an error. Its other lines, such as an application's
// log, are in the command's error at the end.
func operation(s string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return first
}

// Summary returns an error as one line: its first line, which is the operation, and the
// cause, which is the last exception in a Python log, or else the last line.
func Summary(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) == 1 {
		return lines[0]
	}
	cause := len(lines) - 1
	if i := traceback.Cause(lines); i > 0 {
		cause = i
	}
	return strings.TrimSpace(lines[0]) + " … " + strings.TrimSpace(lines[cause])
}
