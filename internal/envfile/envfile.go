// Package envfile parses and formats the syntax of systemd's EnvironmentFile=
// (systemd.exec(5)). Format quotes every value, so that systemd, a POSIX shell and
// Parse read the same value back.
package envfile

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Format returns vars as an env file, one line each, sorted by name. It returns an
// error for a name that is not an identifier, and for a value that contains NUL or
// is not UTF-8.
func Format(vars map[string]string) (string, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !validName.MatchString(name) {
			return "", fmt.Errorf("variable %q: use letters, digits and _, not starting with a digit", name)
		}
		quoted, err := quote(vars[name])
		if err != nil {
			return "", fmt.Errorf("variable %s: %w", name, err)
		}
		fmt.Fprintf(&b, "%s=%s\n", name, quoted)
	}
	return b.String(), nil
}

// quote returns s in double quotes. Within these, systemd and the shell treat a
// backslash before " $ ` and \ as an escape, and a newline as itself.
func quote(s string) (string, error) {
	if strings.ContainsRune(s, 0) || strings.ToValidUTF8(s, "") != s {
		return "", fmt.Errorf("the value contains NUL or is not UTF-8")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(s) + `"`, nil
}

// Parse returns the variables of an env file. The last assignment to a name wins.
// Unlike systemd, which skips lines that it cannot parse, Parse returns an error
// with the line number: a partially read file of credentials causes errors
// elsewhere.
func Parse(text string) (map[string]string, error) {
	p := parser{rest: text, line: 1}
	vars := map[string]string{}
	for !p.atEnd() {
		name, value, err := p.assignment()
		if err != nil {
			return nil, err
		}
		if name != "" {
			vars[name] = value
		}
	}
	return vars, nil
}

type parser struct {
	rest string
	line int
}

func (p *parser) atEnd() bool { return p.rest == "" }

func (p *parser) next() byte {
	c := p.rest[0]
	p.rest = p.rest[1:]
	if c == '\n' {
		p.line++
	}
	return c
}

// assignment parses one line with its continuations. The name is empty for a blank
// line or a comment.
func (p *parser) assignment() (name, value string, err error) {
	p.rest = strings.TrimLeft(p.rest, " \t\r")
	if p.atEnd() {
		return "", "", nil
	}
	if c := p.rest[0]; c == '\n' || c == '#' || c == ';' {
		p.skipLine()
		return "", "", nil
	}
	start := p.line
	head, _, found := strings.Cut(p.rest, "=")
	name = strings.TrimRight(head, " \t")
	if !found || !validName.MatchString(name) {
		// The error does not contain the line, which may be part of a secret.
		return "", "", fmt.Errorf("line %d: not of the form NAME=VALUE", start)
	}
	p.rest = strings.TrimLeft(p.rest[len(head)+1:], " \t")
	if value, err = p.value(); err != nil {
		return "", "", fmt.Errorf("line %d: variable %s: %w", start, name, err)
	}
	return name, value, nil
}

func (p *parser) skipLine() {
	for !p.atEnd() && p.next() != '\n' { //nolint:revive // next does the skipping
	}
}

// value parses the rest of the line, and concatenates its quoted and unquoted
// parts.
func (p *parser) value() (string, error) {
	var b strings.Builder
	kept := 0 // unquoted trailing white space is dropped
	for !p.atEnd() {
		switch c := p.next(); c {
		case '\n':
			return b.String()[:max(kept, trimmedLen(b.String()))], nil
		case '\'':
			if err := p.quoted('\'', &b); err != nil {
				return "", err
			}
			kept = b.Len()
		case '"':
			if err := p.quoted('"', &b); err != nil {
				return "", err
			}
			kept = b.Len()
		case '\\':
			if !p.atEnd() {
				if c := p.next(); c != '\n' {
					b.WriteByte(c)
					kept = b.Len()
				}
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()[:max(kept, trimmedLen(b.String()))], nil
}

func trimmedLen(s string) int { return len(strings.TrimRight(s, " \t\r")) }

func (p *parser) quoted(end byte, b *strings.Builder) error {
	for !p.atEnd() {
		c := p.next()
		if c == end {
			return nil
		}
		if c == '\\' && end == '"' && !p.atEnd() {
			p.escape(b)
			continue
		}
		b.WriteByte(c)
	}
	return fmt.Errorf("missing closing quote %c", end)
}

func (p *parser) escape(b *strings.Builder) {
	switch c := p.next(); c {
	case '"', '\\', '`', '$':
		b.WriteByte(c)
	case '\n':
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
	}
}
