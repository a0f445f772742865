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

func TestTheDaemonEndsWithItsConnectionToSystemd(t *testing.T) {
	folder := t.TempDir()
	address := "unix:path=" + filepath.Join(folder, "bus")
	config := filepath.Join(folder, "bus.conf")
	check(t, os.WriteFile(config, []byte(`<busconfig><listen>`+address+`</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>`), 0o644))
	bus := debiantree.CommandIn(t, folder, "dbus-daemon", "--nofork", "--config-file="+config)
	check(t, bus.Start())
	var conn *dbus.Conn
	eventually(t, "the bus", func() (err error) {
		conn, err = dbus.NewConnection(func() (*godbus.Conn, error) { return godbus.Connect(address) })
		return err
	})
	defer conn.Close()
	ctx, end := whileConnected(t.Context(), conn)
	defer end()
	if err := ctx.Err(); err != nil {
		t.Fatalf("while the bus is there: %v", err)
	}
	check(t, bus.Process.Kill())
	_ = bus.Wait()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
	}
	if err := context.Cause(ctx); !errors.Is(err, errDisconnected) {
		t.Errorf("without the bus: %v", err)
	}
}
