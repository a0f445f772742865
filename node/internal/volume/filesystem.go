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

// label names the file system for people who look at the volume elsewhere.
const label = "xeroops-data"

// Prepare makes a device that is not mounted ready for mounting: formats it if
// it is blank, checks it, and grows its file system to the device's size.
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
		return fmt.Errorf("%s holds %s and not ext4; it is left as it is: attach the right volume, or empty it with wipefs if nothing on it is needed", device, found)
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

// signature says what low-level probing finds on a device: the type of a file
// system, a description of something else, or "". Two tools are asked, as
// wipefs lists what blkid keeps to itself, such as a second signature.
func signature(ctx context.Context, device string) (string, error) {
	out, err := run(ctx, "blkid", "--probe", "--output", "export", device)
	switch exitCode(err) {
	case 0:
		if err != nil {
			return "", fmt.Errorf("look at %s: %w", device, err)
		}
	case blkidAmbiguous:
		return "signatures of several file systems", nil
	case blkidNothing:
		return wipefs(ctx, device)
	default:
		return "", fmt.Errorf("look at %s: %w", device, err)
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
	return "something that blkid does not name", nil
}

func wipefs(ctx context.Context, device string) (string, error) {
	out, err := run(ctx, "wipefs", "--no-act", "--noheadings", "--output", "TYPE", device)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", device, err)
	}
	if types := strings.Fields(out); len(types) > 0 {
		return "a signature of " + strings.Join(types, ", "), nil
	}
	return "", nil
}

const mib = 1 << 20

// groupBytes is how far the block groups of ext4 with 4 KiB blocks are apart:
// copies of a lost superblock lie at the starts of some.
const groupBytes = 128 * mib

// samples is about how many places of a device are looked at.
const samples = 256

// mustBeBlank fails if the device has a byte other than zero in its first or
// last MiB, at the start of its second block group, or in samples between.
func mustBeBlank(device string) (err error) {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("size of %s: %w", device, err)
	}
	buffer := make([]byte, mib)
	for _, p := range places(size) {
		part := buffer[:p.bytes]
		if _, err := f.ReadAt(part, p.offset); err != nil {
			return fmt.Errorf("read %s at %d: %w", device, p.offset, err)
		}
		if len(bytes.TrimLeft(part, "\x00")) > 0 {
			return fmt.Errorf("%s has no known file system, but is not blank: there is data within %d bytes from %d; it is left as it is: "+
				"restore the volume from a snapshot, repair it (e2fsck -b 32768), or overwrite it with zeros if nothing on it is needed", device, p.bytes, p.offset)
		}
	}
	return nil
}

// place is a part of a device.
type place struct{ offset, bytes int64 }

// places are what is looked at, in the order in which it is.
func places(size int64) []place {
	const sample = 64 << 10
	at := []place{{0, min(mib, size)}, {max(size-mib, 0), min(mib, size)}}
	step := max(size/samples/groupBytes, 1) * groupBytes
	for offset := int64(groupBytes); offset < size; offset += step {
		at = append(at, place{offset, min(sample, size-offset)})
	}
	return at
}

// Exit code bits of e2fsck, see its man page: errors were corrected, reboot
// wanted (which concerns a mounted root file system only).
const fsckCorrected = 1 | 2

func check(ctx context.Context, device string, options ...string) error {
	out, err := run(ctx, "e2fsck", append(options, device)...)
	code := exitCode(err)
	if err != nil && (code == 0 || code&^fsckCorrected != 0) {
		return fmt.Errorf("the file system on %s is damaged, and e2fsck does not repair it by itself; make a snapshot, then run e2fsck by hand, or restore the volume: %w: %s",
			device, err, lastLines(out))
	}
	return nil
}

// growBy is from what difference on a file system is grown. EBS grows by GiB;
// an ext4 may leave the rest of a block group at its end unused.
const growBy = 512 * mib

func growUnmounted(ctx context.Context, device string) error {
	smaller, err := isSmaller(ctx, device)
	if err != nil || !smaller {
		return err
	}
	if err := check(ctx, device, "-f", "-p"); err != nil { // or resize2fs refuses
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

// Grow grows the file system of a mounted volume that was enlarged, and says
// whether it did.
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
		return false, fmt.Errorf("data volume %s was enlarged: %w; it is grown at the next reboot", v.ID, err)
	}
	return true, nil
}

// isSmaller says whether the file system leaves much of its device unused.
func isSmaller(ctx context.Context, device string) (bool, error) {
	out, err := run(ctx, "dumpe2fs", "-h", device)
	if err != nil {
		return false, fmt.Errorf("size of the file system on %s: %w", device, err)
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
		return false, fmt.Errorf("size of the file system on %s: dumpe2fs does not tell", device)
	}
	size, err := sizeOf(device)
	return size-used >= growBy, err
}

func sizeOf(device string) (size int64, err error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Seek(0, io.SeekEnd)
}

// run runs a tool without input and in the C locale, and returns what it printed.
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

// exitCode is that of a tool that ran; 0 for one that did not.
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
