package volume

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/cluster"
)

const gib = 1 << 30

// small is the size of a volume with two block groups, of which the second is incomplete.
const small = 144 * mib

// device creates a loop device of a sparse file.
func device(t *testing.T, size int64) (device, image string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root")
	}
	image = filepath.Join(t.TempDir(), "volume.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	resizeImage(t, image, size)
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() { tool(t, "losetup", "--detach", device) })
	return device, image
}

func resizeImage(t *testing.T, image string, size int64) {
	t.Helper()
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func write(t *testing.T, device string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY|os.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, at)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// mounted mounts a device and returns the mount point.
func mounted(t *testing.T, device string) string {
	t.Helper()
	where := t.TempDir()
	tool(t, "mount", device, where)
	t.Cleanup(func() { _ = exec.Command("umount", where).Run() })
	return where
}

func TestBlankVolumeIsFormattedOnce(t *testing.T) {
	device, _ := device(t, gib)
	if err := Prepare(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	where := mounted(t, device)
	if err := os.WriteFile(filepath.Join(where, "row"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "umount", where)
	if err := Prepare(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(mounted(t, device), "row")); string(got) != "kept" {
		t.Errorf("after a second boot the file has %q, %v; want it unchanged", got, err)
	}
}

func TestVolumeWithDataIsNeverFormatted(t *testing.T) {
	random := make([]byte, 4096)
	_, _ = rand.Read(random)
	for name, make := range map[string]func(*testing.T, string){
		"one byte in the first MiB":      func(t *testing.T, d string) { write(t, d, 700_001, []byte{1}) },
		"one byte in the last MiB":       func(t *testing.T, d string) { write(t, d, small-17, []byte{1}) },
		"data in the second block group": func(t *testing.T, d string) { write(t, d, groupBytes, random) },
		"random data at the start":       func(t *testing.T, d string) { write(t, d, 0, random) },
		"a partition table":              func(t *testing.T, d string) { partition(t, d) },
		"another file system":            func(t *testing.T, d string) { tool(t, "mkfs.ext2", "-q", d) },
		"swap":                           func(t *testing.T, d string) { tool(t, "mkswap", d) },
		"an ext4 without its superblock": func(t *testing.T, d string) { format(t, d); write(t, d, 0, make0(4096)) },
		"an ext4 without its first MiB":  func(t *testing.T, d string) { format(t, d); write(t, d, 0, make0(mib)) },
	} {
		t.Run(name, func(t *testing.T) {
			device, image := device(t, small)
			make(t, device)
			before := sum(t, image)
			err := Prepare(t.Context(), device)
			if err == nil {
				t.Fatal("Prepare succeeded, want an error")
			}
			t.Log(err)
			if sum(t, image) != before {
				t.Error("Prepare changed the device")
			}
		})
	}
}

func make0(n int) []byte { return make([]byte, n) }

func sum(t *testing.T, image string) string { return tool(t, "sha256sum", image) }

func format(t *testing.T, device string) { tool(t, "mkfs.ext4", "-q", "-b", "4096", device) }

// partition writes an MBR with one partition of type Linux.
func partition(t *testing.T, device string) {
	mbr := make0(512)
	copy(mbr[446:], []byte{0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0})
	mbr[510], mbr[511] = 0x55, 0xaa
	write(t, device, 0, mbr)
}

func TestDamagedFileSystemIsAnError(t *testing.T) {
	device, _ := device(t, small)
	format(t, device)
	damage(t, device)
	if err := Prepare(t.Context(), device); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Prepare() = %v, want an error about the damage", err)
	}
}

// damage destroys the root directory's inode, with the first inode table, so that
// e2fsck -p gives up.
func damage(t *testing.T, device string) {
	random := make([]byte, 64<<10)
	_, _ = rand.Read(random)
	for line := range strings.Lines(tool(t, "dumpe2fs", device)) {
		if at, found := strings.CutPrefix(strings.TrimSpace(line), "Inode table at "); found {
			var block int64
			for _, c := range at {
				if c < '0' || c > '9' {
					break
				}
				block = block*10 + int64(c-'0')
			}
			write(t, device, block*4096, random)
			return
		}
	}
	t.Fatal("dumpe2fs lists no inode table")
}

func TestEnlargedVolumeIsGrownAtBoot(t *testing.T) {
	device, image := device(t, gib)
	if err := Prepare(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	resizeImage(t, image, 3*gib)
	tool(t, "losetup", "--set-capacity", device)
	if err := Prepare(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	if smaller, err := isSmaller(t.Context(), device); smaller || err != nil {
		t.Errorf("after Prepare: smaller %t, %v", smaller, err)
	}
}

func TestEnlargedVolumeIsGrownWhileMounted(t *testing.T) {
	device, image := device(t, gib)
	if err := Prepare(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	mounted(t, device)
	links := t.TempDir()
	v := Of(cluster.RoleApp, "vol-0123")
	v.Links = links
	if err := os.Symlink(device, v.link()); err != nil {
		t.Fatal(err)
	}
	if grown, err := v.Grow(t.Context()); grown || err != nil {
		t.Errorf("before the volume was enlarged: Grow() = %t, %v; want false", grown, err)
	}
	resizeImage(t, image, 3*gib)
	tool(t, "losetup", "--set-capacity", device)
	grown, err := v.Grow(t.Context())
	if err != nil && strings.Contains(err.Error(), "Permission denied") {
		t.Skip("no CAP_SYS_RESOURCE")
	}
	if !grown || err != nil {
		t.Errorf("after the volume was enlarged: Grow() = %t, %v; want true", grown, err)
	}
}

func TestVolumeThatIsNotAttachedIsAnError(t *testing.T) {
	v := Of(cluster.RoleDB, "vol-0123456789abcdef0")
	v.Links = t.TempDir()
	if _, err := v.Device(); !errors.Is(err, ErrNotAttached) {
		t.Errorf("Device() = %v, want ErrNotAttached", err)
	}
	if filepath.Base(v.link()) != "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0" {
		t.Errorf("link() = %s, want the name of the NVMe device", v.link())
	}
}

func TestMountPointsOfRoles(t *testing.T) {
	if db := Of(cluster.RoleDB, "vol-1"); db.Unit() != "var-lib-postgresql.mount" || db.Owner != "postgres" {
		t.Errorf("got %+v", db)
	}
	if app := Of(cluster.RoleApp, "vol-1"); app.Unit() != "srv-data.mount" || app.Owner != "" {
		t.Errorf("got %+v", app)
	}
}

func TestMountinfoIsParsed(t *testing.T) {
	const text = "29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n" +
		"90 29 259:3 / /srv/data rw,nosuid shared:2 master:1 - ext4 /dev/nvme1n1 ro,errors=remount-ro\n"
	m, found, err := findMount(text, "/srv/data")
	if err != nil || !found || m != (mount{device: "259:3", source: "/dev/nvme1n1", readOnly: true}) {
		t.Errorf("got %+v, %v, %v", m, found, err)
	}
	if _, found, _ := findMount(text, "/srv"); found {
		t.Error("found a mount on /srv")
	}
}

func TestFilesOfTheOwnersFormerIDsAreChanged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing owners needs root")
	}
	top := t.TempDir()
	for name, uid := range map[string]int{"base": 101, "root": 0} {
		path := filepath.Join(top, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(top, 101, 101); err != nil {
		t.Fatal(err)
	}
	if err := chownTree(top, 205, 206); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "205:206", "base": "205:206", "root": "0:0"} {
		if got := strings.TrimSpace(tool(t, "stat", "--format=%u:%g", filepath.Join(top, name))); got != want {
			t.Errorf("%q is owned by %s, want %s", name, got, want)
		}
	}
}
