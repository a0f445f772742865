//go:build linux

// Package machine runs the lab's machines. A [Kind] boots a machine from layers, a
// network namespace and volumes. Its only implementation is [Container], which uses
// systemd-nspawn.
//
// A machine's disk is kept until [Kind.Delete]. Its processes, mounts and control
// groups end with the machine.
package machine

import (
	"context"
	"errors"
	"os/exec"
)

// ErrNotRunning reports that the machine is off.
var ErrNotRunning = errors.New("machine is not running")

// ErrVolumeInUse reports that a volume cannot be detached because the machine has it
// mounted.
var ErrVolumeInUse = errors.New("volume is mounted in the machine")

// Kind is a way of running machines. Its methods are safe for concurrent use. Those
// that take an id work in processes other than the one that started the machine.
type Kind interface {
	// Start boots a machine from its existing disk, or a new one, and returns once
	// its init is running. A machine with spec.ID must not be running.
	Start(ctx context.Context, spec Spec) (Machine, error)
	// Running returns the ids of running machines, including those of a dead
	// supervisor.
	Running() ([]string, error)
	// Clean cuts the power of all running machines and removes what they leave on
	// the host, except their disks.
	Clean() error
	// Command returns a command that runs as root inside a running machine and is
	// killed with it. Its environment is that of a login.
	Command(ctx context.Context, id string, args ...string) (*exec.Cmd, error)
	// ConsoleLog returns the path of the machine's console log, which has the output
	// of all boots.
	ConsoleLog(id string) string
	// Capture copies what a machine has written to its disk to a new directory,
	// which is a layer that others can boot from. The machine must be off or frozen.
	Capture(ctx context.Context, id, layer string) error
	// Delete deletes the disk and console log of a machine that is off. A machine
	// without a disk is not an error.
	Delete(id string) error
}

// Machine is a running machine. Its methods return [ErrNotRunning] once it is off.
type Machine interface {
	ID() string
	// Ready is closed once the machine has reached multi-user.target. It stays
	// closed during a reboot.
	Ready() <-chan struct{}
	// Done is closed once the machine is off and has left nothing but its disk. A
	// machine that reboots is not off; it keeps its volumes.
	Done() <-chan struct{}
	// Err returns, once Done is closed, why the machine is off: nil after a shutdown
	// from inside or by PowerOff, [ErrPowerCut], or another error.
	Err() error
	// Boots returns the number of boots since Start, which is 1 until the first
	// reboot.
	Boots() int
	// PowerOff shuts the machine down and waits until it is off or ctx ends.
	PowerOff(ctx context.Context) error
	// Reboot starts a reboot and returns at once.
	Reboot() error
	// PowerCut kills all processes and waits until the machine is off. Unlike in a
	// real power failure, data in the page cache is still written to the volumes.
	PowerCut() error
	// Freeze suspends all processes until Thaw. The machine's network stack, which
	// is the host's, keeps running.
	Freeze() error
	Thaw() error
	// Attach adds a volume to the running machine, where it appears at once as
	// [Volume.Link]. Attaching a volume again is not an error.
	Attach(v Volume) error
	// Detach removes a volume. If the volume is mounted, Detach unmounts it with
	// force, and returns [ErrVolumeInUse] without.
	Detach(volumeID string, force bool) error
	// Throttle limits the machine's I/O on an attached volume.
	Throttle(volumeID string, limit Throttle) error
	// MemoryBytes returns the memory in use, without page cache.
	MemoryBytes() (int64, error)
}

// ErrPowerCut is the value of Err after [Machine.PowerCut] or [Kind.Clean].
var ErrPowerCut = errors.New("power cut")

// Spec describes a machine to start.
type Spec struct {
	ID       string // lower-case letters, digits and dashes, such as i-0123456789abcdef0
	Hostname string // until cloud-init sets another one
	Layers   []string
	// NetworkNamespace is the path of a network namespace with the machine's
	// interface, as made by package vpcnet.
	NetworkNamespace string
	Volumes          []Volume
	MemoryLimitBytes int64 // 0 is no limit
}

// Volume is a volume attached to a machine.
type Volume struct {
	ID     string // such as vol-0123456789abcdef0
	Device string // block device on the host, such as /dev/loop7
}

// Link returns the path of the volume inside the machine, as on EC2.
func (v Volume) Link() string { return byID + "/" + v.linkName() }

// Throttle limits a machine's reads from a volume, and separately its writes to it.
// A zero field is no limit.
type Throttle struct {
	BytesPerSecond int64
	IOPS           int64
}

// Stall holds back all I/O: at this rate, a block of 4 KiB takes more than an hour.
var Stall = Throttle{BytesPerSecond: 1}
