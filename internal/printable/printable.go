// Package printable escapes text from nodes, developers and other programs for a
// terminal. Unescaped, it could move the cursor, change the title or the clipboard of
// an operator's terminal, or reorder text.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text escapes control characters except line feeds and tabs, and the invisible and
// direction-changing characters of Unicode. It uses the escapes of JSON, so that a
// JSON document keeps its values. Bytes that are not UTF-8 become U+FFFD.
func Text(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || escaped(r) }) {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case !escaped(r):
			out.WriteRune(r) // also RuneError, for an invalid byte
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

// Line returns [Text] of s in one line, for a table cell or a value in a sentence, so
// that it cannot imitate a line of the CLI.
func Line(s string) string {
	return Text(strings.Join(strings.Fields(s), " "))
}

// Row returns the [Line] of each cell as a row for a tabwriter.
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
	partial []byte // the beginning of an incomplete rune
}

// NewWriter returns a writer that writes the [Text] of its input to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Unwrap returns the underlying writer, for the CLI's own control sequences.
func (w *Writer) Unwrap() io.Writer { return w.out }

// Write writes the [Text] of b. It returns the number of bytes of b.
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
