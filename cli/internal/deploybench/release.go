package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/cli/internal/publish"
	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/wheelfile"
)

const (
	application = "bench"
	port        = 8042
)

// fault is what is wrong with a release.
type fault string

const (
	sound       fault = ""
	importFails fault = "import"
	unhealthy   fault = "health"
	wrongSum    fault = "sum"
)

// release is a version of the application. All of its wheels are new with each
// version, so that no node has them yet.
type release struct {
	version string
	wheels  int
	fault   fault
}

const asgi = `
import fastapi

app = fastapi.FastAPI()

@app.get("/healthz", status_code=%d)
def health():
    return {}

@app.get("/api/bench/")
async def index():
    return {"version": "%s"}
`

// upload writes the release's wheels to dir and uploads the bundle. It returns
// the manifest's sum.
func (r release) upload(ctx context.Context, a *access.Access, python registry.Python, dir string) (string, error) {
	own, err := r.write(dir)
	if err != nil {
		return "", err
	}
	m, err := publish.Describe(bundle.Manifest{
		Application: application, Version: r.version, CreatedBy: "deploybench", Python: python.Version, Platform: python.Platform,
		App: "bench:app", Port: port, RoutePrefix: "/api/bench", HealthPath: "/healthz", Workers: 1,
	}, own, dir)
	if err != nil {
		return "", err
	}
	p, err := publish.Upload(ctx, a, m, dir, func(int) {})
	if err != nil || r.fault != wrongSum {
		return p.SHA256, err
	}
	key := bundle.Key(application, r.version, own)
	_, err = a.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &a.Bucket, Key: &key, Body: bytes.NewReader([]byte("corrupted"))})
	return p.SHA256, err
}

// write writes the wheels to dir and returns the file name of the application's
// own.
func (r release) write(dir string) (own string, err error) {
	status, imports := 200, ""
	switch r.fault {
	case unhealthy:
		status = 503
	case importFails:
		imports = "import missing_module\n"
	}
	for n := range r.wheels - 1 {
		name := fmt.Sprintf("dependency%d", n)
		imports += "import " + name + "\n"
		if _, err := writeWheel(dir, name, r.version, dependency(name, r.version)); err != nil {
			return "", err
		}
	}
	return writeWheel(dir, application, r.version, map[string]string{"bench/__init__.py": imports + fmt.Sprintf(asgi, status, r.version)})
}

func writeWheel(dir, name, version string, files map[string]string) (string, error) {
	file, content := wheelfile.Wheel{Name: name, Version: version, Tag: wheelfile.PurePython, Files: files}.Make()
	return file, os.WriteFile(filepath.Join(dir, file), content, 0o600)
}

// dependency returns a package of 20 modules, some 60 kB, of which a quarter is
// imported.
func dependency(name, version string) map[string]string {
	files := map[string]string{name + "/__init__.py": "VERSION = '" + version + "'\nfrom . import m0, m1, m2, m3, m4\n"}
	for m := range 20 {
		var code strings.Builder
		for f := range 30 {
			fmt.Fprintf(&code, "def function%d(first, second=%d):\n    \"\"\"Returns its arguments in order.\"\"\"\n    return [first, second, %q]\n\n", f, m, version)
		}
		files[fmt.Sprintf("%s/m%d.py", name, m)] = code.String()
	}
	return files
}
