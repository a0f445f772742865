//go:build linux

package cli

import (
	"net"
	"testing"
)

func TestChoosePortPrefersTheDefaultIfItIsFree(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if got := choosePort(port); got == port || got == 0 {
		t.Errorf("port %d is taken, and choosePort returns %d", port, got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := choosePort(port); got != port {
		t.Errorf("port %d is free, and choosePort returns %d", port, got)
	}
}
