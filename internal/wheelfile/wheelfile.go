// Package wheelfile creates wheels (PEP 427) without a build: the ones with which
// the CLI tells pip what an image has, and those that tests and measurements
// deploy.
package wheelfile

import (
	"archive/zip"
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
)

// PurePython is the tag of a wheel that runs on every platform.
const PurePython = "py3-none-any"

// Wheel is the metadata and content of a wheel.
type Wheel struct {
	Name, Version string
	Build         string            // build number; may be empty
	Tag           string            // PYTHON-ABI-PLATFORM
	Metadata      string            // additional lines of METADATA, each with a newline
	Files         map[string]string // content by path
}

// Make returns the wheel's file name and content. RECORD has no hashes; pip does
// not require them.
func (w Wheel) Make() (file string, content []byte) {
	name := strings.ReplaceAll(w.Name, "-", "_") + "-" + w.Version
	info := name + ".dist-info/"
	files := maps.Clone(w.Files)
	if files == nil {
		files = map[string]string{}
	}
	files[info+"METADATA"] = "Metadata-Version: 2.1\nName: " + w.Name + "\nVersion: " + w.Version + "\n" + w.Metadata
	files[info+"WHEEL"] = "Wheel-Version: 1.0\nGenerator: xeroops\nRoot-Is-Purelib: true\nTag: " + w.Tag + "\n"
	record := info + "RECORD"
	files[record] = strings.Join(slices.Sorted(maps.Keys(files)), ",,\n") + ",,\n" + record + ",,\n"
	var out bytes.Buffer // writes to a Buffer do not fail
	archive := zip.NewWriter(&out)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		f, _ := archive.Create(path)
		_, _ = io.WriteString(f, files[path])
	}
	_ = archive.Close()
	if w.Build != "" {
		name += "-" + w.Build
	}
	return name + "-" + w.Tag + ".whl", out.Bytes()
}
