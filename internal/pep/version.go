package pep

import (
	"cmp"
	"regexp"
	"strings"
)

// Version is a normalized version of a distribution (PEP 440), such as
// 1!2.0.post1.
type Version string

// versionSyntax is the expression of PEP 440, appendix B, without the white space
// and the leading v that it tolerates.
var versionSyntax = regexp.MustCompile(`(?i)^(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)` +
	`(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?([0-9]*))?` +
	`(-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?` +
	`([-_.]?dev[-_.]?[0-9]*)?` +
	`(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$`)

var preReleases = map[string]string{"alpha": "a", "a": "a", "beta": "b", "b": "b", "preview": "rc", "pre": "rc", "c": "rc", "rc": "rc"}

// ParseVersion normalizes a version as PEP 440 defines it.
func ParseVersion(s string) (Version, error) {
	if err := match(versionSyntax, "version (PEP 440)", s); err != nil {
		return "", err
	}
	parts := versionSyntax.FindStringSubmatch(strings.ToLower(s))
	var v strings.Builder
	if epoch := number(parts[1]); epoch != "0" {
		v.WriteString(epoch + "!")
	}
	for i, segment := range strings.Split(parts[2], ".") {
		if i > 0 {
			v.WriteByte('.')
		}
		v.WriteString(number(segment))
	}
	if pre := parts[3]; pre != "" {
		v.WriteString(preReleases[pre] + number(parts[4]))
	}
	if post := parts[5]; post != "" {
		v.WriteString(".post" + number(strings.TrimLeft(post, "-_.postrev")))
	}
	if dev := parts[6]; dev != "" {
		v.WriteString(".dev" + number(strings.TrimLeft(dev, "-_.dev")))
	}
	if local := parts[7]; local != "" {
		segments := strings.FieldsFunc(local, func(r rune) bool { return strings.ContainsRune("-_.", r) })
		for i, segment := range segments {
			if strings.Trim(segment, "0123456789") == "" {
				segments[i] = number(segment)
			}
		}
		v.WriteString("+" + strings.Join(segments, "."))
	}
	return Version(v.String()), nil
}

// number removes leading zeros; a number without digits is 0.
func number(digits string) string { return cmp.Or(strings.TrimLeft(digits, "0"), "0") }

// UnmarshalText parses a version.
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVersion(string(text))
	return err
}
