//go:build linux

package baseimage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestBaseResemblesDebiansEC2ImageAndTrustsTheCA(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("building a tree needs root")
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not on PATH; install Debian's package mmdebstrap")
	}
	ca := certificate(t)
	layers, err := Build(context.Background(), Base{StateDir: t.TempDir(), CACertificate: ca})
	if err != nil {
		t.Fatal(err)
	}
	if len(layers) != 2 {
		t.Fatalf("layers are %v, want the CA's on the tree", layers)
	}
	top, tree := layers[0], layers[1]
	bundle, err := os.ReadFile(filepath.Join(top, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || !strings.Contains(string(bundle), strings.TrimSpace(string(ca))) {
		t.Errorf("the bundle lacks the CA (%v)", err)
	}
	for _, p := range []string{"usr/sbin/sshd", "usr/bin/cloud-init", "usr/bin/python3", "etc/cloud/cloud.cfg.d/90_lab.cfg"} {
		if _, err := os.Stat(filepath.Join(tree, p)); err != nil {
			t.Error(err)
		}
	}
	if id, err := os.ReadFile(filepath.Join(tree, "etc/machine-id")); err != nil || len(id) > 0 {
		t.Errorf("machine-id is %q (%v), want it empty", id, err)
	}
	for _, p := range []string{"etc/hostname", "etc/ssh/ssh_host_ed25519_key", "usr/sbin/dhcpcd"} {
		if _, err := os.Stat(filepath.Join(tree, p)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it absent", p, err)
		}
	}
	if url, err := MirrorURL(layers); err != nil || !strings.HasPrefix(url, "http") {
		t.Errorf("mirror is %q (%v)", url, err)
	}
	start := time.Now()
	if _, err := Build(context.Background(), Base{}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("a cached tree took %s", d)
	}
}

func TestHostMirrorIsReadFromEitherFormat(t *testing.T) {
	for content, want := range map[string]string{
		"Types: deb\n# http://old.example/debian\nURIs: http://mirror.example/debian\nSuites: x\n": "http://mirror.example/debian",
		"Types: deb\nURIs: http://mirror.example/debian-security\n":                                "",
		"deb [signed-by=/k] https://mirror.example/debian/ trixie main\n":                          "https://mirror.example/debian/",
		"# deb http://mirror.example/debian trixie main\n":                                         "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := hostMirror(dir); got != want {
			t.Errorf("mirror of %q is %q, want %q", content, got, want)
		}
	}
}

func TestLayerIsRemovedWithTheLastImageThatUsesIt(t *testing.T) {
	s, err := NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	below := []string{"/base"}
	for _, id := range []string{"ami-1", "ami-2"} {
		if err := s.Add(id, below, func(layer string) error { return os.Mkdir(layer, 0o755) }); err != nil {
			t.Fatal(err)
		}
		if below, err = s.Layers(id); err != nil {
			t.Fatal(err)
		}
	}
	if len(below) != 3 || below[2] != "/base" || filepath.Base(below[0]) != "ami-2" {
		t.Fatalf("layers are %v", below)
	}
	if err := s.Remove("ami-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Layers("ami-1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed image: %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(below[1]); err != nil {
		t.Errorf("layer of ami-1 under ami-2: %v", err)
	}
	if err := s.Remove("ami-2"); err != nil {
		t.Fatal(err)
	}
	for _, layer := range below[:2] {
		if _, err := os.Stat(layer); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("layer %s: %v, want it gone", layer, err)
		}
	}
}

func TestFailedCaptureLeavesNoImage(t *testing.T) {
	s, err := NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	fail := errors.New("disk full")
	err = s.Add("ami-1", nil, func(layer string) error {
		if err := os.Mkdir(layer, 0o755); err != nil {
			return err
		}
		return fail
	})
	if !errors.Is(err, fail) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Layers("ami-1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("layers after a failed capture: %v, want fs.ErrNotExist", err)
	}
}
