package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/wheelfile"
)

// release says in what a version is bad: "import", "health", "sum" or nothing.
type release struct{ fails string }

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

// upload puts a bundle into the bucket and returns its sum. All wheels are
// new with every version, so that none of them is on a node already.
func (b *bench) upload(ctx context.Context, version string, r release) (string, error) {
	status, imports := 200, ""
	switch r.fails {
	case "health":
		status = 503
	case "import":
		imports = "import nothing_of_that_name\n"
	}
	var wheels []wheel
	for n := range b.wheels - 1 {
		name := fmt.Sprintf("dependency%d", n)
		imports += "import " + name + "\n"
		wheels = append(wheels, newWheel(name, version, dependency(name, version)))
	}
	own := newWheel(application, version, map[string]string{"bench/__init__.py": imports + fmt.Sprintf(asgi, status, version)})
	wheels = append([]wheel{own}, wheels...)
	m := bundle.Manifest{Schema: bundle.Schema, Application: application, Version: version, CreatedAt: time.Now().UTC(), Python: b.python.Version, Platform: b.python.Platform,
		App: "bench:app", Port: port, RoutePrefix: "/api/bench", HealthPath: "/healthz", Workers: 1}
	for _, w := range wheels {
		m.Wheels = append(m.Wheels, bundle.Wheel{File: w.file, SHA256: bundle.Sum(w.content), Size: int64(len(w.content))})
	}
	if r.fails == "sum" {
		wheels[0].content[0]++
	}
	group, uploads := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, w := range wheels {
		group.Go(func() error { return b.put(uploads, bundle.Key(application, version, w.file), w.content) })
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	content, sum, err := m.Encode()
	if err != nil {
		return "", err
	}
	return sum, b.put(ctx, bundle.Key(application, version, bundle.ManifestName), content)
}

type wheel struct {
	file    string
	content []byte
}

// dependency is a package of 20 modules, some 60 kB, a quarter of which is imported.
func dependency(name, version string) map[string]string {
	files := map[string]string{name + "/__init__.py": "VERSION = '" + version + "'\nfrom . import m0, m1, m2, m3, m4\n"}
	for m := range 20 {
		var code strings.Builder
		for f := range 30 {
			fmt.Fprintf(&code, "def function%d(first, second=%d):\n    \"\"\"Returns what it is given, in order.\"\"\"\n    return [first, second, %q]\n\n", f, m, version)
		}
		files[fmt.Sprintf("%s/m%d.py", name, m)] = code.String()
	}
	return files
}

func newWheel(name, version string, files map[string]string) wheel {
	file, content := wheelfile.Wheel{Name: name, Version: version, Tag: wheelfile.PurePython, Files: files}.Make()
	return wheel{file, content}
}

func (b *bench) put(ctx context.Context, key string, content []byte) error {
	_, err := b.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.bucket, Key: &key, Body: bytes.NewReader(content)})
	return err
}

func (b *bench) get(ctx context.Context, key string) ([]byte, error) {
	out, err := b.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Body.Close() }()
	return io.ReadAll(out.Body)
}

// password is that of the registry's user for operators.
func (b *bench) password(ctx context.Context, layout cluster.Layout) (string, error) {
	content, err := b.get(ctx, layout.Credentials(cluster.RoleManagement))
	if err != nil {
		return "", err
	}
	vars, err := envfile.Parse(string(content))
	return vars[cluster.RedisDeployPassword], err
}
