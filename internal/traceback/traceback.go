// Package traceback finds the cause of a failure in the log of a Python program. The last
// line of such a log is mostly the server's, such as "Application startup failed".
package traceback

import "strings"

// Cause returns the index of the line with the last exception, or -1. In a traceback it is
// the first line after the calls that is not indented.
func Cause(lines []string) int {
	cause, inside := -1, false
	for i, line := range lines {
		switch {
		case strings.Contains(line, "Traceback (most recent call last):"), strings.HasPrefix(line, `  File "`):
			inside = true
		case inside && line != "" && !strings.ContainsAny(line[:1], " \t"):
			cause, inside = i, false
		}
	}
	return cause
}

// Excerpt returns the last n lines of a log, or those up to the last exception and the last
// line, if the exception is further up.
func Excerpt(log string, n int) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	cut := max(0, len(lines)-n)
	if cause := Cause(lines); cause >= 0 && cause < cut {
		return strings.Join(lines[max(0, cause+1-n):cause+1], "\n") + "\n…\n" + lines[len(lines)-1]
	}
	return strings.Join(lines[cut:], "\n")
}
