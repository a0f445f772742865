//go:build linux

package drive_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/packer-plugin/internal/packertest"
)

// controlC is what the key Ctrl-C sends to a terminal, which turns it into SIGINT for
// the foreground process group: Packer and its plugins.
const controlC = "\x03"

// terminal is a command that runs in a pseudoterminal of its own.
type terminal struct {
	t       *testing.T
	cmd     *exec.Cmd
	keys    *os.File // writing to it is typing
	shown   safeBuffer
	drained chan struct{}
}

// inTerminal starts a command in a terminal.
func inTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	fd := int(keys.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	x := &terminal{t: t, cmd: cmd, keys: keys, drained: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = screen.Close()
	go func() {
		_, _ = io.Copy(&x.shown, keys) // ends when the last process has closed the terminal
		close(x.drained)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = keys.Close()
	})
	return x
}

func (x *terminal) press(keys string) { _, _ = x.keys.WriteString(keys) }

// answer presses the keys whenever the text appears.
func (x *terminal) answer(text, keys string) {
	go func() {
		for seen := 0; ; {
			if n := strings.Count(x.shown.String(), text); n > seen {
				seen++
				x.press(keys)
			}
			select {
			case <-x.drained:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
}

// wait returns whether the command succeeded, and what the terminal showed.
func (x *terminal) wait() (succeeded bool, shown string) {
	x.t.Helper()
	stuck := time.AfterFunc(3*time.Minute, func() { _ = x.cmd.Process.Kill() })
	defer stuck.Stop()
	err := x.cmd.Wait()
	select {
	case <-x.drained:
	case <-time.After(5 * time.Second):
	}
	return err == nil, x.shown.String()
}

const record = `{"schema":1,"role":"app","version":"9.8.7","packages":[]}`

const question = "or [r] retry step"

// TestPackerItselfDecidesAboutCleanup runs builds whose provisioner fails, as a user
// would in a terminal.
func TestPackerItselfDecidesAboutCleanup(t *testing.T) {
	packer := packer(t)
	for name, test := range map[string]struct {
		flags             []string
		answer            string
		cleaned, provides bool // what the build created is gone; the error-cleanup-provisioner ran
	}{
		"by default":              {cleaned: true, provides: true},
		"abort":                   {flags: []string{"-on-error=abort"}},
		"run-cleanup-provisioner": {flags: []string{"-on-error=run-cleanup-provisioner"}, provides: true},
		"ask, clean up":           {flags: []string{"-on-error=ask"}, answer: "c\r", cleaned: true, provides: true},
		"ask, abort":              {flags: []string{"-on-error=ask"}, answer: "a\r"},
		"ask, Ctrl-C":             {flags: []string{"-on-error=ask"}, answer: controlC, cleaned: true, provides: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := packertest.New(t)
			f.Status = failing("scripts/packages.sh", 1)
			before := f.Holdings()
			template := writeTemplate(t, f, filepath.Join(t.TempDir(), "images.auto.tfvars.json"))
			x := inTerminal(t, packer(append(append([]string{"build"}, test.flags...), template)...))
			x.answer(question, test.answer)
			succeeded, shown := x.wait()
			if succeeded {
				t.Error("packer succeeded")
			}
			left := packertest.Difference(before, f.Holdings())
			if (left == "") != test.cleaned {
				t.Errorf("cleaned up: %v, want %v\n%s", left == "", test.cleaned, left)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(template), cleanupRan)); (err == nil) != test.provides {
				t.Errorf("the error-cleanup-provisioner ran: %v, want %v", err == nil, test.provides)
			}
			if named := strings.Contains(shown, "Not cleaned up"); named == test.cleaned {
				t.Errorf("what is left is named: %v", named)
			}
			if t.Failed() || testing.Verbose() {
				t.Log(shown)
			}
		})
	}
}

// failing returns a Fixture.Status that fails a script some times.
func failing(script string, times int) func(string) int {
	return func(command string) int {
		if strings.Contains(command, script) && times > 0 {
			times--
			return 1
		}
		return 0
	}
}

func TestPackerItselfRetriesAStep(t *testing.T) {
	packer := packer(t)
	f := packertest.New(t)
	f.Record, f.Status = record, failing("scripts/packages.sh", 2)
	x := inTerminal(t, packer("build", "-on-error=ask", writeTemplate(t, f, filepath.Join(t.TempDir(), "images.auto.tfvars.json"))))
	x.answer(question, "r\r")
	if succeeded, shown := x.wait(); !succeeded || strings.Count(shown, question) != 2 {
		t.Errorf("succeeded: %v\n%s", succeeded, shown)
	}
	f.Image(packertest.Region, "app-after-")
}

func TestPackerItselfPausesWithDebug(t *testing.T) {
	packer := packer(t)
	f := packertest.New(t)
	f.Record = record
	cmd := packer("build", "-debug", writeTemplate(t, f, filepath.Join(t.TempDir(), "images.auto.tfvars.json")))
	cmd.Dir = t.TempDir()
	x := inTerminal(t, cmd)
	x.answer("Press enter to continue", "\r")
	succeeded, shown := x.wait()
	for _, text := range []string{"after run of step 'stepRunInstance'", "before cleanup of step 'stepRunInstance'"} {
		if !strings.Contains(shown, text) {
			t.Errorf("it does not pause %s", text)
		}
	}
	if key, err := os.ReadFile(filepath.Join(cmd.Dir, "xeroops_app.pem")); err != nil || !strings.Contains(string(key), "PRIVATE KEY") {
		t.Errorf("the key file holds %d bytes, %v", len(key), err)
	}
	if !succeeded || t.Failed() {
		t.Errorf("succeeded: %v\n%s", succeeded, shown)
	}
}

// TestPackerItselfInterruptedLeavesNothing presses Ctrl-C at several moments of a build.
func TestPackerItselfInterruptedLeavesNothing(t *testing.T) {
	packer := packer(t)
	for _, test := range []struct{ action, script string }{
		{action: "DescribeImages"}, {action: "ImportKeyPair"}, {action: "CreateSecurityGroup"}, {action: "RunInstances"},
		{script: "scripts/packages.sh"}, {script: "scripts/seal.sh"},
		{action: "StopInstances"}, {action: "CreateImage"},
		{action: "TerminateInstances"}, // the image is complete, and only what is temporary is still being deleted
	} {
		t.Run(test.action+test.script, func(t *testing.T) {
			f := packertest.New(t)
			before := f.Holdings()
			var x *terminal
			started := make(chan struct{})
			press := func() { <-started; x.press(controlC) }
			if test.action != "" {
				must(t, f.Front.Inject(fakeaws.Fault{Action: test.action, Effect: fakeaws.Observe, After: func(*fakeaws.Call) { press() }}))
			}
			f.Status = func(command string) int {
				if test.script != "" && strings.Contains(command, test.script) {
					press()
					time.Sleep(time.Second) // the interrupt arrives while the script runs
				}
				return 0
			}
			x = inTerminal(t, packer("build", writeTemplate(t, f, filepath.Join(t.TempDir(), "images.auto.tfvars.json"))))
			close(started)
			succeeded, shown := x.wait()
			if succeeded {
				t.Error("packer succeeded")
			}
			if diff := packertest.Difference(before, f.Holdings()); diff != "" {
				t.Error(diff)
			}
			if t.Failed() || testing.Verbose() {
				t.Log(shown)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
