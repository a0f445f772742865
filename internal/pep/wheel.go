package pep

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Platform is the platform tag of wheels for Linux with the GNU C library (PEP
// 600), such as manylinux_2_41_x86_64: the library's version, and the machine.
type Platform string

var platformSyntax = regexp.MustCompile(`^manylinux_2_([1-9]?[0-9])_([a-z][a-z0-9]*(?:_[a-z0-9]+)*)$`)

// ParsePlatform parses a platform tag.
func ParsePlatform(s string) (Platform, error) {
	if err := match(platformSyntax, "platform tag (PEP 600) such as manylinux_2_41_x86_64", s); err != nil {
		return "", err
	}
	return Platform(s), nil
}

// UnmarshalText parses a platform tag.
func (p *Platform) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePlatform(string(text))
	return err
}

// Machine returns the machine, such as x86_64.
func (p Platform) Machine() string {
	_, machine := p.parts()
	return machine
}

// Older returns whichever of two platforms of one machine has the older C library:
// wheels built for it run on both.
func (p Platform) Older(other Platform) Platform {
	mine, _ := p.parts()
	if theirs, _ := other.parts(); theirs < mine {
		return other
	}
	return p
}

func (p Platform) parts() (minor int, machine string) {
	parts := platformSyntax.FindStringSubmatch(string(p))
	if parts == nil {
		return 0, ""
	}
	minor, _ = strconv.Atoi(parts[1]) // the syntax has at most two digits
	return minor, parts[2]
}

// Compatible returns the platform tags of all wheels that run on p, the best match
// first: older C libraries down to 2.5, where PEP 600 begins, also by their former
// names (PEP 599, 571, 513), and then wheels without a manylinux tag.
func (p Platform) Compatible() []string {
	const oldest = 5
	former := map[int]string{17: "manylinux2014_", 12: "manylinux2010_", 5: "manylinux1_"}
	minor, machine := p.parts()
	var all []string
	for ; minor >= oldest; minor-- {
		all = append(all, fmt.Sprintf("manylinux_2_%d_%s", minor, machine))
		if name, ok := former[minor]; ok {
			all = append(all, name+machine)
		}
	}
	return append(all, "linux_"+machine)
}

// WheelFile is the parsed file name of a wheel (PEP 427).
type WheelFile struct {
	Name    Name
	Version Version
	Build   string // begins with a digit; may be empty
	// Python, ABI and Platform are the tags (PEP 425), of which each may be several
	// joined by dots.
	Python, ABI, Platform string
}

var (
	buildSyntax = regexp.MustCompile(`^[0-9][A-Za-z0-9_.]*$`)
	tagSyntax   = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)
)

const (
	wheelKind   = "file name of a wheel (PEP 427)"
	wheelSuffix = ".whl"
	maxFileName = 255 // NAME_MAX
)

// ParseWheelFile parses the base name of a wheel's file.
func ParseWheelFile(s string) (WheelFile, error) {
	stem, found := strings.CutSuffix(s, wheelSuffix)
	parts := strings.Split(stem, "-")
	if !found || len(s) > maxFileName || len(parts) < 5 || len(parts) > 6 {
		return WheelFile{}, &SyntaxError{wheelKind, s}
	}
	var w WheelFile
	var err error
	if w.Name, err = ParseName(parts[0]); err != nil {
		return WheelFile{}, &SyntaxError{wheelKind, s}
	}
	if w.Version, err = ParseVersion(parts[1]); err != nil {
		return WheelFile{}, &SyntaxError{wheelKind, s}
	}
	if len(parts) == 6 {
		w.Build = parts[2]
		if !buildSyntax.MatchString(w.Build) {
			return WheelFile{}, &SyntaxError{wheelKind, s}
		}
	}
	tags := parts[len(parts)-3:]
	for _, tag := range tags {
		if !tagSyntax.MatchString(tag) {
			return WheelFile{}, &SyntaxError{wheelKind, s}
		}
	}
	w.Python, w.ABI, w.Platform = tags[0], tags[1], tags[2]
	return w, nil
}

// String returns the file name, normalized.
func (w WheelFile) String() string {
	name := w.Name.FileName() + "-" + string(w.Version)
	if w.Build != "" {
		name += "-" + w.Build
	}
	return strings.Join([]string{name, w.Python, w.ABI, w.Platform}, "-") + wheelSuffix
}
