package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// errNotRunning reports that HAProxy is not running. It will start with the installed
// configuration.
var errNotRunning = errors.New("HAProxy is not running")

const socketTimeout = 10 * time.Second

// ask sends a line of commands to one of HAProxy's sockets and returns the answer.
func ask(ctx context.Context, socket, commands string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotRunning, err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := exchange(ctx, conn.(*net.UnixConn), commands)
	if err != nil {
		return "", fmt.Errorf("send commands to HAProxy: %w", err)
	}
	return answer, nil
}

func exchange(ctx context.Context, conn *net.UnixConn, commands string) (string, error) {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, commands+"\n"); err != nil {
		return "", err
	}
	if err := conn.CloseWrite(); err != nil { // the master's socket answers only then
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// reload makes the master load the configuration. The old worker ends with its last
// connection.
func reload(ctx context.Context, masterSocket string) error {
	answer, err := ask(ctx, masterSocket, "reload")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(strings.TrimSpace(answer), "Success=1") {
		return fmt.Errorf("reload HAProxy, which keeps running the old configuration: %s", strings.TrimSpace(answer))
	}
	return nil
}

// runningConfigHash returns the hash of the configuration that HAProxy is running.
func runningConfigHash(ctx context.Context, statsSocket string) (string, error) {
	answer, err := ask(ctx, statsSocket, "show info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if description, found := strings.CutPrefix(line, "description: "); found {
			return strings.TrimSpace(description), nil
		}
	}
	return "", nil
}
