package routing

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// errNotRunning says that nobody answers: the configuration lies ready for HAProxy
// to start.
var errNotRunning = errors.New("HAProxy does not run")

// ask sends one line of commands to one of HAProxy's sockets and returns the
// answer. The master's wants to see that nothing more comes.
func ask(ctx context.Context, socket, commands string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotRunning, err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	if _, err := io.WriteString(conn, commands+"\n"); err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	if half, ok := conn.(*net.UnixConn); ok {
		if err := half.CloseWrite(); err != nil {
			return "", fmt.Errorf("ask HAProxy: %w", err)
		}
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	return string(all), nil
}

// reload makes the master load the configuration. The old worker ends when its
// last connection has.
func reload(ctx context.Context, master string) error {
	answer, err := ask(ctx, master, "reload")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(strings.TrimSpace(answer), "Success=1") {
		return fmt.Errorf("HAProxy did not load the new configuration and goes on with the old one: %s", strings.TrimSpace(answer))
	}
	return nil
}

// runningShape is the shape of the configuration that HAProxy runs.
func runningShape(ctx context.Context, stats string) (string, error) {
	answer, err := ask(ctx, stats, "show info")
	if err != nil {
		return "", err
	}
	for text := range strings.Lines(answer) {
		if shape, found := strings.CutPrefix(text, "description: "); found {
			return strings.TrimSpace(shape), nil
		}
	}
	return "", nil
}

// running is a server as HAProxy has it.
type running struct {
	address     string
	port        int
	up          bool
	maintenance bool
	weight      string // as configured or set
	state       string // its line of show servers state
}

// Columns of `show servers state`, version 1 (HAProxy's management guide, 9.3).
const (
	columnBackend = 1
	columnServer  = 3
	columnAddress = 4
	columnUp      = 5 // 0 is stopped
	columnAdmin   = 6 // bit 0x01: maintenance was asked for
	columnWeight  = 7
	columnPort    = 18
	columns       = 19
)

// runningServers are all servers of HAProxy, by backend and name.
func runningServers(ctx context.Context, stats string) (map[string]map[string]running, error) {
	answer, err := ask(ctx, stats, "show servers state")
	if err != nil {
		return nil, err
	}
	return parseServers(answer)
}

func parseServers(answer string) (map[string]map[string]running, error) {
	all := map[string]map[string]running{}
	lines := bufio.NewScanner(strings.NewReader(answer))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < columns || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		port, errPort := strconv.Atoi(f[columnPort])
		admin, errAdmin := strconv.Atoi(f[columnAdmin])
		if err := errors.Join(errPort, errAdmin); err != nil {
			return nil, fmt.Errorf("read HAProxy's servers: %q: %w", lines.Text(), err)
		}
		backend := all[f[columnBackend]]
		if backend == nil {
			backend = map[string]running{}
			all[f[columnBackend]] = backend
		}
		backend[f[columnServer]] = running{address: f[columnAddress], port: port, up: f[columnUp] != "0",
			maintenance: admin&1 != 0, weight: f[columnWeight], state: lines.Text()}
	}
	return all, lines.Err()
}
