// Package journal makes the loggers of the node's daemons, whose output systemd
// sends to the journal, and keeps them from logging one problem over and over.
package journal

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// NewLogger returns the logger of a subcommand. Its lines have no time, since the
// journal records one.
func NewLogger(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Info, Output: os.Stderr, DisableTime: true})
}

// Problems are the current problems of one kind. Each is logged once, and again only
// after it was resolved. The zero value has none.
type Problems struct{ current []string }

// Set replaces the current problems. It logs event as a warning for each error that is
// new, and that the problems are resolved when none is left; args are further keys and
// values. Errors that are nil are ignored.
func (p *Problems) Set(log hclog.Logger, event string, errs []error, args ...any) {
	var current []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		text := describe(err)
		current = append(current, text)
		if !slices.Contains(p.current, text) {
			log.Warn(event, append([]any{"error", err}, args...)...)
		}
	}
	if len(current) == 0 && len(p.current) > 0 {
		log.Info("problem resolved", append([]any{"problem", event}, args...)...)
	}
	p.current = current
}

// Problem is [Problems] of which there is at most one. The zero value is none.
type Problem struct{ problems Problems }

// Set records err as the current problem, nil for none, as [Problems.Set] does.
func (p *Problem) Set(log hclog.Logger, event string, err error, args ...any) {
	p.problems.Set(log, event, []error{err}, args...)
}

// String returns the text of the current problem, or "".
func (p *Problem) String() string { return strings.Join(p.problems.current, "") }

// describe returns an error's text without the local port of a connection, which
// differs each time although the problem is the same.
func describe(err error) string {
	text := err.Error()
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Source != nil {
		text = strings.ReplaceAll(text, failed.Source.String(), "")
	}
	return text
}
