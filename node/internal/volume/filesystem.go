package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

const ext4 = "ext4"

// label identifies the file system where the volume is attached to another machine.
const label = "xeroops-data"

// Prepare makes an unmounted device ready for mounting: it formats a blank device, checks
// the file system and grows it to the size of the device.
func Prepare(ctx context.Context, device string) error {
	found, err := signature(ctx, device)
	if err != nil {
		return err
	}
	switch found {
	case ext4:
	case "":
		if err := mustBeBlank(device); err != nil {
			return err
		}
		if _, err := run(ctx, "mkfs.ext4", "-q", "-L", label, "-m", "1", "-E", "nodiscard", device); err != nil {
			return fmt.Errorf("format %s: %w", device, err)
		}
		return nil
	default:
		return fmt.Errorf("%s contains %s, not ext4, and was not changed: attach the right volume, or erase it with wipefs if its data is not needed", device, found)
	}
	if err := check(ctx, device, "-p"); err != nil {
		return err
	}
	return growUnmounted(ctx, device)
}

// blkid's exit codes, see blkid(8).
const (
	blkidNothing   = 2
	blkidAmbiguous = 8
)

// signature returns what low-level probing finds on a device: the type of a file system,
// a description of something else, or "". It runs both blkid and wipefs, which also lists
// signatures that blkid does not report.
func signature(ctx context.Context, device string) (string, error) {
	out, err := run(ctx, "blkid", "--probe", "--output", "export", device)
	switch exitCode(err) {
	case 0:
		if err != nil {
			return "", fmt.Errorf("probe %s: %w", device, err)
		}
	case blkidAmbiguous:
		return "signatures of several file systems", nil
	case blkidNothing:
		return wipefs(ctx, device)
	default:
		return "", fmt.Errorf("probe %s: %w", device, err)
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		found[name] = value
	}
	switch {
	case found["PTTYPE"] != "":
		return "a partition table (" + found["PTTYPE"] + ")", nil
	case found["TYPE"] != "":
		return found["TYPE"], nil
	}
	return "an unknown signature", nil
}

func wipefs(ctx context.Context, device string) (string, error) {
	out, err := run(ctx, "wipefs", "--no-act", "--noheadings", "--output", "TYPE", device)
	if err != nil {
		return "", fmt.Errorf("probe %s: %w", device, err)
	}
	if types := strings.Fields(out); len(types) > 0 {
		return "a signature of " + strings.Join(types, ", "), nil
	}
	return "", nil
}

const mib = 1 << 20

// groupBytes is the size of a block group of ext4 with 4 KiB blocks. Some groups begin
// with a copy of the superblock.
const groupBytes = 128 * mib

// samples is the approximate number of extents of a device that are read.
const samples = 256

// mustBeBlank returns an error if the device has a byte other than zero in its first or
// last MiB, at the start of its second block group or in the samples in between.
func mustBeBlank(device string) (err error) {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("get the size of %s: %w", device, err)
	}
	buffer := make([]byte, mib)
	for _, e := range extents(size) {
		part := buffer[:e.bytes]
		if _, err := f.ReadAt(part, e.offset); err != nil {
			return fmt.Errorf("read %s at %d: %w", device, e.offset, err)
		}
		if len(bytes.TrimLeft(part, "\x00")) > 0 {
			return fmt.Errorf("%s has no known file system but is not blank: there is data within %d bytes from offset %d, and it was not changed: "+
				"restore the volume from a snapshot, repair it (e2fsck -b 32768), or overwrite it with zeros if its data is not needed", device, e.bytes, e.offset)
		}
	}
	return nil
}

// extent is a part of a device.
type extent struct{ offset, bytes int64 }

// extents returns the extents to read, in order.
func extents(size int64) []extent {
	const sample = 64 << 10
	all := []extent{{0, min(mib, size)}, {max(size-mib, 0), min(mib, size)}}
	step := max(size/samples/groupBytes, 1) * groupBytes
	for offset := int64(groupBytes); offset < size; offset += step {
		all = append(all, extent{offset, min(sample, size-offset)})
	}
	return all
}

// fsckCorrected are the bits of e2fsck's exit code that do not mean failure: errors were
// corrected, and the machine should reboot, which matters for a mounted root only.
const fsckCorrected = 1 | 2

func check(ctx context.Context, device string, options ...string) error {
	out, err := run(ctx, "e2fsck", append(options, device)...)
	code := exitCode(err)
	if err != nil && (code == 0 || code&^fsckCorrected != 0) {
		return fmt.Errorf("the file system on %s is damaged and cannot be repaired automatically; make a snapshot, then run e2fsck by hand, or restore the volume: %w: %s",
			device, err, lastLines(out))
	}
	return nil
}

// minGrowth is the unused space from which on a file system is grown. EBS volumes grow by
// GiB; ext4 may leave the rest of a block group at the end unused.
const minGrowth = 512 * mib

func growUnmounted(ctx context.Context, device string) error {
	smaller, err := isSmaller(ctx, device)
	if err != nil || !smaller {
		return err
	}
	if err := check(ctx, device, "-f", "-p"); err != nil { // which resize2fs requires
		return err
	}
	return resize(ctx, device)
}

func resize(ctx context.Context, device string) error {
	if _, err := run(ctx, "resize2fs", device); err != nil {
		return fmt.Errorf("grow the file system on %s: %w", device, err)
	}
	return nil
}

// Grow grows the file system of a mounted volume that was enlarged, and reports whether
// it did.
func (v Volume) Grow(ctx context.Context) (bool, error) {
	device, err := v.Device()
	if err != nil {
		return false, err
	}
	smaller, err := isSmaller(ctx, device)
	if err != nil || !smaller {
		return false, err
	}
	if err := resize(ctx, device); err != nil {
		return false, fmt.Errorf("data volume %s: %w; it will be grown at the next reboot", v.ID, err)
	}
	return true, nil
}

// isSmaller reports whether the file system is much smaller than its device.
func isSmaller(ctx context.Context, device string) (bool, error) {
	out, err := run(ctx, "dumpe2fs", "-h", device)
	if err != nil {
		return false, fmt.Errorf("get the size of the file system on %s: %w", device, err)
	}
	fields := map[string]int64{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil {
			fields[name] = n
		}
	}
	used := fields["Block count"] * fields["Block size"]
	if used == 0 {
		return false, fmt.Errorf("get the size of the file system on %s: dumpe2fs reports none", device)
	}
	size, err := sizeOf(device)
	return size-used >= minGrowth, err
}

func sizeOf(device string) (size int64, err error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Seek(0, io.SeekEnd)
}

// run runs a tool in the C locale and returns its standard output.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", name, err, lastLines(stderr.String()))
	}
	return out.String(), nil
}

// exitCode returns the exit code of a tool, or 0 if it did not run.
func exitCode(err error) int {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return failed.ExitCode()
	}
	return 0
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
