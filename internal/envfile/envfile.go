// Package envfile reads and writes the syntax of systemd's EnvironmentFile= as
// man systemd.exec describes it. Format quotes every value, so that what is
// written is read back unchanged by systemd, by a POSIX shell and by Parse.
package envfile

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Format returns vars as an env file, sorted by name, a line each. A name that
// is no identifier and a value that holds NUL or is not UTF-8 are errors.
func Format(vars map[string]string) (string, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !validName.MatchString(name) {
			return "", fmt.Errorf("variable %q: a name is letters, digits and _, not beginning with a digit", name)
		}
		quoted, err := quote(vars[name])
		if err != nil {
			return "", fmt.Errorf("variable %s: %w", name, err)
		}
		fmt.Fprintf(&b, "%s=%s\n", name, quoted)
	}
	return b.String(), nil
}

// quote puts s into double quotes, within which systemd and the shell take a
// backslash before " $ ` and \ as an escape, and a line break as itself.
func quote(s string) (string, error) {
	if strings.ContainsRune(s, 0) || strings.ToValidUTF8(s, "") != s {
		return "", fmt.Errorf("the value holds NUL or is not UTF-8")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(s) + `"`, nil
}

// Parse returns the variables of an env file; a later assignment of a name wins.
// Unlike systemd, which skips a line that it does not understand, Parse returns
// an error that names the line: a half-read file of credentials helps nobody.
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

// assignment reads one line (with its continuations); name is "" for a blank
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
		// The line itself is not shown: it may be a piece of a secret.
		return "", "", fmt.Errorf("line %d is not of the form NAME=VALUE", start)
	}
	p.rest = strings.TrimLeft(p.rest[len(head)+1:], " \t")
	if value, err = p.value(); err != nil {
		return "", "", fmt.Errorf("line %d: variable %s: %w", start, name, err)
	}
	return name, value, nil
}

func (p *parser) skipLine() {
	for !p.atEnd() && p.next() != '\n' { //nolint:revive // the condition is the work
	}
}

// value reads up to the end of the line: quoted and unquoted parts, put together.
func (p *parser) value() (string, error) {
	var b strings.Builder
	kept := 0 // unquoted white space at the end is dropped; quoted is not
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
	return fmt.Errorf("the quote %c is never closed", end)
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
