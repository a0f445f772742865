package deployments

import (
	"context"
	"time"

	"github.com/xeroops/xeroops/node/internal/systemd"
)

// supervisor runs units. On a node it is systemd; tests have one that runs the same
// programs as children of their own.
type supervisor interface {
	// Reload reads units again, after a version was added or became current.
	Reload(ctx context.Context) error
	// Start starts a unit, unless it is running, and waits until its main process runs.
	Start(ctx context.Context, unit string) error
	// Stop stops a unit, and with wait returns once it has stopped.
	Stop(ctx context.Context, unit string, wait bool) error
	// States returns the active states, by name, of the units that match a pattern and
	// are not inactive.
	States(ctx context.Context, pattern string) (map[string]string, error)
	// Log returns what a unit has logged since a time, at most its last maxLogLines.
	Log(ctx context.Context, unit string, since time.Time) string
}

const (
	// logLines is the number of lines of a failed application's log that are reported.
	logLines = 15
	// maxLogLines is the number of lines in which the exception is searched: with several
	// workers, much follows it.
	maxLogLines = 300
)

// units is the node's systemd. A polkit rule permits the daemon's user to manage the units
// of applications and no others.
type units struct{ *systemd.Conn }

func (units) Log(ctx context.Context, unit string, since time.Time) string {
	return systemd.Journal(ctx, unit, since, maxLogLines)
}
