package rollout

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// Screen shows a deployment: on a terminal a table that is drawn again in place,
// elsewhere a line a change.
type Screen struct {
	out     io.Writer
	width   func() int // of the terminal; nil elsewhere
	drawn   int        // lines of the table that is on the terminal
	last    map[string]State
	problem bool
}

const defaultWidth = 80

// NewScreen returns a screen that writes to out.
func NewScreen(out io.Writer) *Screen {
	s := &Screen{out: out, last: map[string]State{}}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		s.width = func() int {
			if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
				return width
			}
			return defaultWidth
		}
	}
	return s
}

// Show shows a status.
func (s *Screen) Show(status Status) {
	if s.width != nil {
		s.draw(status)
		return
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
		fmt.Fprintln(s.out, strings.TrimRight(fmt.Sprintf("%s: %s (%s) %s", n.Name, n.State, elapsed(n), n.Error), " "))
	}
}

// draw writes the table over the one before. It is sent in one piece, so that no
// half of it is ever seen.
func (s *Screen) draw(status Status) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tELAPSED\tDETAIL")
	for _, n := range status.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, n.State, elapsed(n), Summary(n.Error))
	}
	_ = w.Flush() // a strings.Builder takes everything
	if status.Problem != nil {
		fmt.Fprintf(&table, "the registry does not answer, still trying: %s\n", Summary(status.Problem.Error()))
	}
	width := s.width()
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
	_, _ = io.WriteString(s.out, frame.String()) // nothing to be done about a terminal that is gone
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
