// Package printable makes text that others wrote fit for a terminal: nodes,
// developers and the programs that the CLI runs could else move the cursor, change
// the title or the clipboard of an operator's terminal, or reorder what is read.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s with everything escaped that a terminal may not just print:
// control characters but line feeds and tabs, and Unicode's invisible and
// direction-changing ones. Escapes are those of JSON, so that a JSON document
// stays one of the same values. Bytes that are not UTF-8 become U+FFFD.
func Text(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || escaped(r) }) {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case !escaped(r):
			out.WriteRune(r) // RuneError too, which an invalid byte is
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

func escaped(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }

// Line is [Text] of s as one line: a cell of a table, or a value within a
// sentence, in which others could else write lines that seem to be the CLI's own.
func Line(s string) string {
	return Text(strings.Join(strings.Fields(s), " "))
}

// Row returns the cells of a row for a tabwriter, each as its [Line].
func Row(cells ...any) string {
	lines := make([]string, len(cells))
	for i, cell := range cells {
		lines[i] = Line(fmt.Sprint(cell))
	}
	return strings.Join(lines, "\t")
}

// Writer writes [Text] to another writer.
type Writer struct {
	out     io.Writer
	partial []byte // the beginning of a rune whose rest is to come
}

// NewWriter returns a writer that writes the [Text] of what it is given to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Unwrap returns the writer beneath, for what controls the terminal on purpose.
func (w *Writer) Unwrap() io.Writer { return w.out }

// Write writes the text of b. It counts what it took of b.
func (w *Writer) Write(b []byte) (int, error) {
	whole := append(w.partial, b...)
	rest := len(whole)
	for back := 1; back < utf8.UTFMax && back <= len(whole); back++ {
		if start := len(whole) - back; utf8.RuneStart(whole[start]) {
			if !utf8.FullRune(whole[start:]) {
				rest = start
			}
			break
		}
	}
	w.partial = append([]byte(nil), whole[rest:]...)
	if _, err := io.WriteString(w.out, Text(string(whole[:rest]))); err != nil {
		return 0, err
	}
	return len(b), nil
}
