package role

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// machine is the machine being provisioned.
type machine struct {
	ui   packersdk.Ui
	comm packersdk.Communicator
	dir  string // directory on the machine for uploads
}

// asRoot returns the command as root's, through sudo without a password if needed.
func asRoot(command string) string {
	return fmt.Sprintf(`if [ "$(id -u)" -eq 0 ]; then %[1]s; else sudo -n %[1]s; fi`, command)
}

// unpack uploads and unpacks the bundle.
func (m *machine) unpack(ctx context.Context, bundle []byte) error {
	archive := m.dir + ".tar.gz"
	if err := m.comm.Upload(archive, bytes.NewReader(bundle), nil); err != nil {
		return fmt.Errorf("upload to %s: %w", archive, err)
	}
	_, err := m.run(ctx, fmt.Sprintf("mkdir -m 0700 %[1]s && tar -C %[1]s -xzf %[2]s && rm -f %[2]s", m.dir, archive))
	return err
}

// script returns a function that runs one of the bundle's scripts and shows its output.
func (m *machine) script(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := m.run(ctx, "cd "+m.dir+" && "+asRoot("sh -eu scripts/"+name+".sh"))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}

// run runs a command, shows its output and returns its standard output.
func (m *machine) run(ctx context.Context, command string) (string, error) {
	var out, last tail
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: io.MultiWriter(&out, &last), Stderr: &last}
	if err := cmd.RunWithUi(ctx, m.comm, m.ui); err != nil {
		return "", fmt.Errorf("run %q: %w", command, err)
	}
	if status := cmd.ExitStatus(); status != 0 {
		return "", fmt.Errorf("exit status %d:\n%s", status, last.end())
	}
	return out.all(), nil
}

// output runs a command without showing its output, and returns it.
func (m *machine) output(ctx context.Context, command string) (string, error) {
	quiet := *m
	quiet.ui = silent{m.ui}
	return quiet.run(ctx, command)
}

// clean removes the uploads, also after a failure or a cancellation.
func (m *machine) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := m.run(ctx, "rm -f "+m.dir+".tar.gz; "+asRoot("rm -rf "+m.dir))
	if err != nil {
		return fmt.Errorf("remove %s: %w", m.dir, err)
	}
	return nil
}

// tail keeps everything written to it; two streams may write concurrently.
type tail struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written.Write(p)
}

func (t *tail) all() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written.String()
}

// end returns the last 30 lines.
func (t *tail) end() string {
	lines := strings.Split(strings.TrimRight(t.all(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// silent is a Ui that discards a command's output.
type silent struct{ packersdk.Ui }

func (silent) Say(string)     {}
func (silent) Message(string) {}
