//go:build linux

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// loop is a loop device and its backing file.
type loop struct{ device, file string }

// loops lists the host's loop devices that have a backing file.
func loops() ([]loop, error) {
	paths, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var out []loop
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
			continue // released meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list loop devices: %w", err)
		}
		// The kernel appends " (deleted)" to the name of a deleted file.
		file := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), " (deleted)")
		out = append(out, loop{device: "/dev/" + strings.Split(p, "/")[3], file: file})
	}
	return out, nil
}

// makeLoop sets up a loop device for a file. It retries if another process takes the
// free device first.
func makeLoop(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("%w (load the kernel module loop)", err)
	}
	defer control.Close()
	for range 50 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("find a free loop device: %w", err)
		}
		device := fmt.Sprintf("/dev/loop%d", number)
		if err := ensureNode(device, number); err != nil {
			return "", err
		}
		err = configure(device, file)
		if !errors.Is(err, unix.EBUSY) {
			return device, err
		}
	}
	return "", errors.New("find a free loop device: other processes took each one first")
}

// ensureNode creates the device node on hosts without devtmpfs and udev.
func ensureNode(device string, number int) error {
	const loopMajor = 7
	err := unix.Mknod(device, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(number))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make node %s: %w", device, err)
	}
	return nil
}

func configure(device string, file *os.File) error {
	d, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	copy(config.Info.File_name[:unix.LO_NAME_SIZE-1], file.Name())
	if err := unix.IoctlLoopConfigure(int(d.Fd()), &config); err != nil {
		return fmt.Errorf("configure %s for %s: %w", device, file.Name(), err)
	}
	return nil
}

// onDevice runs f on an open loop device.
func onDevice(device string, f func(fd int) error) error {
	d, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(int(d.Fd()))
}

func setCapacity(device string) error {
	return onDevice(device, func(fd int) error {
		if err := unix.IoctlSetInt(fd, unix.LOOP_SET_CAPACITY, 0); err != nil {
			return fmt.Errorf("set capacity of %s: %w", device, err)
		}
		return nil
	})
}

// syncDevice flushes the device's page cache to its file.
func syncDevice(device string) error {
	return onDevice(device, func(fd int) error {
		if err := unix.Fsync(fd); err != nil {
			return fmt.Errorf("write out %s: %w", device, err)
		}
		return nil
	})
}

// clearTimeout limits the wait for the kernel to release the file, which it does once
// no process has the device open.
const clearTimeout = 10 * time.Second

func clearLoop(device string) error {
	err := onDevice(device, func(fd int) error {
		if err := unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("clear %s: %w", device, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	path := filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file")
	deadline := time.Now().Add(clearTimeout)
	for {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("clear %s: it is still open after %s; is it mounted?", device, clearTimeout)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
