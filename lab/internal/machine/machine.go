//go:build linux

// Package machine runs the lab's machines. A [Kind] knows how to boot one from
// layers, a network namespace and volumes; its one implementation is [Container]
// (systemd-nspawn), a second, of virtual machines, can come beside it.
//
// What a machine wrote stays in the state directory until [Kind.Delete];
// everything else of it (processes, mounts, cgroup) ends with the machine.
package machine

import (
	"context"
	"errors"
	"os/exec"
)

// ErrNotRunning says that the machine is off.
var ErrNotRunning = errors.New("machine is not running")

// ErrVolumeInUse says that a volume can't be detached because a file system on
// it is mounted in the machine.
var ErrVolumeInUse = errors.New("volume is mounted in the machine")

// Kind is a way of running machines. Its methods may be called concurrently,
// and those that take an id also from another process than the one that
// started the machine.
type Kind interface {
	// Start boots a machine and returns once its init runs; [Machine.Ready] says
	// when it is up. A machine with spec.ID must not be running. Its disk is kept
	// from the last time that it ran.
	Start(ctx context.Context, spec Spec) (Machine, error)
	// Running lists the ids of machines that have a process, those of a dead
	// supervisor too.
	Running() ([]string, error)
	// Clean cuts the power of every machine that Running lists and removes what is
	// left of it in the host, but not its disk. For recovery and for down.
	Clean() error
	// Command prepares a command that runs as root inside a running machine and
	// ends with it; its environment is a login's, not the caller's.
	Command(ctx context.Context, id string, args ...string) (*exec.Cmd, error)
	// ConsoleLog is the path of the machine's console output, over all its boots.
	ConsoleLog(id string) string
	// Capture copies the disk of a machine that is off or frozen, less the layers
	// below it, to a new folder: a layer to boot others from.
	Capture(ctx context.Context, id, layer string) error
	// Delete removes the disk and console log of a machine that is off. No disk is
	// no error.
	Delete(id string) error
}

// Machine is a running machine. Its methods return [ErrNotRunning] once it is off.
type Machine interface {
	ID() string
	// Ready is closed when the machine reached multi-user since it was started. A
	// reboot does not reopen it.
	Ready() <-chan struct{}
	// Done is closed when the machine is off and nothing of it is left but its disk.
	// A reboot is not off: the machine boots again by itself with the volumes that
	// it has then.
	Done() <-chan struct{}
	// Err says, once Done is closed, why the machine is off: nil after a power-off
	// from inside or by PowerOff, [ErrPowerCut], or what else went wrong.
	Err() error
	// Boots counts boots since Start; it is 1 until the first reboot.
	Boots() int
	// PowerOff asks the machine to shut down and waits until it is off or ctx ends.
	PowerOff(ctx context.Context) error
	// Reboot asks the machine to reboot; it returns at once.
	Reboot() error
	// PowerCut ends every process at once, as losing power does, and waits until
	// nothing is left. What the kernel had taken for writing is kept.
	PowerCut() error
	// Freeze stops every process until Thaw, as a stalled hypervisor does.
	Freeze() error
	Thaw() error
	// Attach gives the running machine a volume, which appears at once under
	// [Volume.Link]. Attaching what is attached is no error.
	Attach(v Volume) error
	// Detach takes it away, or returns [ErrVolumeInUse]; force unmounts it first.
	Detach(volumeID string, force bool) error
	// Throttle slows the machine's access to an attached volume.
	Throttle(volumeID string, limit Throttle) error
	// MemoryBytes is the memory in use, without page cache that could be dropped.
	MemoryBytes() (int64, error)
}

// ErrPowerCut is why a machine is off after [Machine.PowerCut] or [Kind.Clean].
var ErrPowerCut = errors.New("power cut")

// Spec is what a machine boots from.
type Spec struct {
	ID       string // lower-case letters, digits and dashes, such as i-0123456789abcdef0
	Hostname string // before cloud-init gives it another
	Layers   []string
	// NetworkNamespace is a path that the namespace is bound on; it has the
	// machine's interface already. See vpcnet.
	NetworkNamespace string
	Volumes          []Volume
	MemoryLimitBytes int64 // 0 is none
}

// Volume is a block device of the host as a machine sees it.
type Volume struct {
	ID     string // of EBS: vol-0123456789abcdef0
	Device string // in the host: /dev/loop7
}

// Link is the path under which every EC2 machine finds the volume.
func (v Volume) Link() string { return byID + "/" + v.linkName() }

// Throttle limits what a machine reads from, and what it writes to, a volume per
// second. 0 is no limit.
type Throttle struct {
	BytesPerSecond int64
	IOPS           int64
}
