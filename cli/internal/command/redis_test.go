//go:build linux

package command

import (
	"bytes"
	"cmp"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/registry"
	"github.com/xeroops/xeroops/internal/testkit/debiantree"
	"github.com/xeroops/xeroops/templates"
)

// startRedis starts Debian 13's Redis with the users of a cluster.
func startRedis(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	users := clusterUsers(t)
	for name, content := range map[string]string{
		"redis.conf": "port " + port + "\nbind 127.0.0.1\nsave \"\"\ndir " + dir + "\naclfile " + dir + "/users.acl\n",
		"users.acl":  users,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := debiantree.CommandIn(t, dir, "redis-server", filepath.Join(dir, "redis.conf"))
	var output bytes.Buffer
	server.Stdout = &output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() }) // killed when the test ends
	client := registry.Open(address, registry.UserNode, "node")
	defer client.Close()
	poll(t, "Redis answers", func() bool { return client.Ping(t.Context()).Err() == nil })
	return address
}

// clusterUsers returns the users of the management node, rendered from its template.
func clusterUsers(t *testing.T) string {
	t.Helper()
	const path = "services/redis/config/etc/redis/users.acl.tmpl"
	content, err := templates.Files.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	passwords := map[string]string{"REDIS_DEPLOY_PASSWORD": password, "REDIS_STATUS_PASSWORD": statusPassword, "REDIS_NODE_PASSWORD": "node"}
	functions := template.FuncMap{
		"credential": func(name string) string { return cmp.Or(passwords[name], name) },
		"sha256":     func(s string) string { return bundle.Sum([]byte(s)) },
	}
	users := &strings.Builder{}
	rendered, err := template.New(path).Funcs(functions).Parse(string(content))
	if err == nil {
		err = rendered.Execute(users, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return users.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
