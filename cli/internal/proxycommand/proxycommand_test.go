//go:build unix

package proxycommand

import (
	"io"
	"strings"
	"testing"
)

// On a busy machine, a command may have ended before the client writes its first byte.
func TestAWriteAfterTheEndOfTheCommandSaysHowItEnded(t *testing.T) {
	conn, err := Dialer("sh -c 'echo connection refused >&2; exit 7'")(t.Context(), "tcp", "10.0.2.20:6379")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadAll(conn); err == nil || !strings.Contains(err.Error(), "exit status 7") { // waits until it has ended
		t.Errorf("the read returned %v", err)
	}
	// The pipe is closed just after the command's end was recorded.
	for {
		_, err := conn.Write([]byte("PING\r\n"))
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "(exit status 7): connection refused") {
			t.Errorf("the write returned %v", err)
		}
		return
	}
}
