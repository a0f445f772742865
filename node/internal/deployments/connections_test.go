package deployments

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// A version that stops must not close a connection on which a request is arriving, as
// uvicorn by itself sometimes does.
func TestOpenConnectionsAreServedWhenAVersionStops(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.publish(version{version: "1.0"})
	f.mustBeHealthy("1.0")
	unit := serviceUnit("demo", "1.0")
	var connections []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", f.port))
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		connections = append(connections, c)
	}
	f.stop()
	check(t, f.units.Stop(t.Context(), unit, false))
	first := bufio.NewReader(connections[0])
	eventually(t, "the version to begin to stop", func() error {
		if !ask(t, connections[0], first) {
			return fmt.Errorf("the connection stays open")
		}
		return nil
	})
	for _, c := range connections[1:] {
		if !ask(t, c, bufio.NewReader(c)) {
			t.Error("a connection stays open after its response")
		}
	}
}

// ask sends a request on a connection and returns whether its response closes it.
func ask(t *testing.T, c net.Conn, r *bufio.Reader) (closes bool) {
	t.Helper()
	_, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
	check(t, err)
	res, err := http.ReadResponse(r, nil)
	check(t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	check(t, err)
	return res.Close
}
