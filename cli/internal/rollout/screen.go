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

	"github.com/xeroops/xeroops/cli/internal/printable"
)

// Screen shows a deployment: on a terminal a table that is drawn again in place,
// elsewhere a line a change; also on a terminal with fewer lines than the table.
type Screen struct {
	out     io.Writer
	frames  io.Writer                   // out without what escapes the control of the terminal
	size    func() (columns, lines int) // of the terminal; nil elsewhere
	drawn   int                         // lines of the table that is on the terminal
	last    map[string]State
	problem bool
}

// The size of a terminal that does not say it.
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
		// With its head, a problem, and the line that the cursor is on.
		if columns, lines := s.size(); len(status.Nodes)+3 <= lines {
			s.draw(status, columns)
			return
		}
	}
	if (status.Problem != nil) != s.problem {
		if s.problem = status.Problem != nil; s.problem {
			fmt.Fprintf(s.out, "the registry does not answer, still trying: %v\n", status.Problem)
		} else {
			fmt.Fprintln(s.out, "the registry answers again")
		}
	}
	for _, n := range status.Nodes {
		if s.last[n.Name] == n.State {
			continue
		}
		s.last[n.Name] = n.State
		fmt.Fprintln(s.out, strings.TrimRight(fmt.Sprintf("%s: %s (%s) %s", n.Name, n.State, elapsed(n), strings.ReplaceAll(strings.TrimSpace(n.Error), "\n", "\n    ")), " "))
	}
}

// draw writes the table over the one before. It is sent in one piece, so that no
// half of it is ever seen.
func (s *Screen) draw(status Status, width int) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tELAPSED\tDETAIL")
	for _, n := range status.Nodes {
		fmt.Fprintln(w, printable.Row(n.Name, n.State, elapsed(n), Summary(n.Error)))
	}
	_ = w.Flush() // a strings.Builder takes everything
	if status.Problem != nil {
		fmt.Fprintf(&table, "the registry does not answer, still trying: %s\n", printable.Line(Summary(status.Problem.Error())))
	}
	var frame strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&frame, "\x1b[%dA\x1b[J", s.drawn) // up, and clear to the end
	}
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	for _, line := range lines {
		if runes := []rune(line); len(runes) > width {
			line = string(runes[:width-1]) + "…" // a wrapped line could not be drawn over
		}
		frame.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.frames, frame.String()) // nothing to be done about a terminal that is gone
}

func elapsed(n Node) string {
	if n.State == StateAbsent {
		return "-"
	}
	return (time.Duration(n.ElapsedMS) * time.Millisecond).Round(100 * time.Millisecond).String()
}

// Summary is an error in one line: what failed, which is its first line, and what
// that said at last, as Python's tracebacks do.
func Summary(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) == 1 {
		return lines[0]
	}
	return strings.TrimSpace(lines[0]) + " … " + strings.TrimSpace(lines[len(lines)-1])
}
