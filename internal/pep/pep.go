// Package pep parses what Python's packaging standards define: names of
// distributions, versions, tags and file names of wheels. Text from the registry,
// S3 or a node becomes one of these types before it is used in a file's path or
// in the input of another program; none of their values contains a path separator or
// white space, or begins with a hyphen or dot.
package pep

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxLength bounds every value in bytes, far above what distributions use: a
// wheel's file name, of which they are parts, has at most 255 (NAME_MAX).
const maxLength = 128

// SyntaxError reports text that does not conform to a packaging standard.
type SyntaxError struct {
	Kind  string // what the text should be, with the standard
	Value string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%q is not a %s", clip(e.Value), e.Kind) }

// clip shortens what is quoted in errors.
func clip(s string) string {
	if len(s) > maxLength {
		return s[:maxLength] + "…"
	}
	return s
}

func match(re *regexp.Regexp, kind, value string) error {
	// A case-insensitive expression also takes the two letters outside of ASCII whose
	// case folds to one within.
	ascii := strings.IndexFunc(value, func(r rune) bool { return r > unicode.MaxASCII }) < 0
	if !ascii || len(value) > maxLength || !re.MatchString(value) {
		return &SyntaxError{kind, value}
	}
	return nil
}

// Name is the normalized name of a distribution (PEP 503), such as
// typing-extensions.
type Name string

var (
	nameSyntax    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`) // PEP 508
	nameSeparator = regexp.MustCompile(`[-_.]+`)
)

// ParseName normalizes a name as PEP 508 defines it.
func ParseName(s string) (Name, error) {
	if err := match(nameSyntax, "distribution name (PEP 508)", s); err != nil {
		return "", err
	}
	return Name(strings.ToLower(nameSeparator.ReplaceAllString(s, "-"))), nil
}

// UnmarshalText parses a name.
func (n *Name) UnmarshalText(text []byte) (err error) {
	*n, err = ParseName(string(text))
	return err
}

// FileName returns the name as it is in the file names of wheels.
func (n Name) FileName() string { return strings.ReplaceAll(string(n), "-", "_") }

// Python is a minor version of CPython, such as 3.13.
type Python string

var pythonSyntax = regexp.MustCompile(`^3\.[1-9]?[0-9]$`)

// ParsePython parses a minor version.
func ParsePython(s string) (Python, error) {
	if err := match(pythonSyntax, "version of Python such as 3.13", s); err != nil {
		return "", err
	}
	return Python(s), nil
}

// UnmarshalText parses a minor version.
func (p *Python) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePython(string(text))
	return err
}

// Tag returns the tag of wheels that need this version, which is also that of
// its ABI: cp313.
func (p Python) Tag() string { return "cp" + strings.ReplaceAll(string(p), ".", "") }
