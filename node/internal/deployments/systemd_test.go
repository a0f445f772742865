package deployments

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"github.com/xeroops/xeroops/internal/testkit/debiantree"
)

func TestDaemonEndsWithItsConnectionToSystemd(t *testing.T) {
	dir := t.TempDir()
	address := "unix:path=" + filepath.Join(dir, "bus")
	config := filepath.Join(dir, "bus.conf")
	check(t, os.WriteFile(config, []byte(`<busconfig><listen>`+address+`</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>`), 0o644))
	bus := debiantree.CommandIn(t, dir, "dbus-daemon", "--nofork", "--config-file="+config)
	check(t, bus.Start())
	var conn *dbus.Conn
	eventually(t, "the bus to answer", func() (err error) {
		conn, err = dbus.NewConnection(func() (*godbus.Conn, error) { return godbus.Connect(address) })
		return err
	})
	defer conn.Close()
	ctx, cancel := whileConnected(t.Context(), conn)
	defer cancel()
	if err := ctx.Err(); err != nil {
		t.Fatalf("while the bus is running: %v", err)
	}
	check(t, bus.Process.Kill())
	_ = bus.Wait()
	select {
	case <-ctx.Done():
	case <-time.After(deadline):
	}
	if err := context.Cause(ctx); !errors.Is(err, errDisconnected) {
		t.Errorf("after the bus has ended: %v, want errDisconnected", err)
	}
}
