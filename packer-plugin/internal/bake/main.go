// Bake builds the images of the cluster's roles, at the same time, with the
// plugin's binary and without Packer. It is what make images uses where there
// is no packer on PATH; the plugin does the same for both.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/packer-plugin/internal/drive"
)

type options struct {
	plugin, node, output, network, prefix string
	parallel                              int
	roles                                 []string
	log                                   io.Writer
}

func main() {
	var o options
	var log string
	flag.StringVar(&o.plugin, "plugin", "bin/packer-plugin-xeroops", "the plugin's binary")
	flag.StringVar(&o.node, "node", "", "xeroops-node, built for the images; none by default")
	flag.StringVar(&o.output, "output", "images.auto.tfvars.json", "file for the ids")
	flag.StringVar(&o.network, "network", "", "network that SSH comes from, such as 203.0.113.7/32")
	flag.StringVar(&o.prefix, "prefix", "xeroops-", "of the images' names; role and time follow")
	flag.IntVar(&o.parallel, "parallel", len(cluster.Roles()), "builds at a time")
	flag.StringVar(&log, "log", os.DevNull, "file for the plugin's log")
	flag.Parse()
	if o.roles = flag.Args(); len(o.roles) == 0 {
		for _, role := range cluster.Roles() {
			o.roles = append(o.roles, string(role))
		}
	}
	if err := run(o, log); err != nil {
		fmt.Fprintln(os.Stderr, "bake:", err)
		os.Exit(1)
	}
}

func run(o options, log string) error {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	o.log = file
	stdlog.SetOutput(file) // the SDK's own, of this side of the RPC
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	begun := time.Now()
	free := make(chan struct{}, o.parallel)
	errs := make([]error, len(o.roles))
	var all sync.WaitGroup
	for i, role := range o.roles {
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = bake(ctx, o, role)
			}
		})
	}
	all.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	fmt.Printf("%d of %d images in %s\n", len(o.roles)-len(failed), len(o.roles), time.Since(begun).Round(time.Second))
	return errors.Join(failed...)
}

// bake builds one role's image. One build that fails does not stop the others.
func bake(ctx context.Context, o options, role string) error {
	begun := time.Now()
	w := &prefixed{prefix: role + ": "}
	artifact, err := drive.Build(ctx, o.plugin, drive.Template{
		Builder: drive.Component{Name: "ebs", Config: map[string]any{
			"ami_name":                              o.prefix + role + "-" + begun.UTC().Format("20060102-150405"),
			"temporary_security_group_source_cidrs": []string{o.network}, "poll_interval": "1s",
		}},
		Provisioners:   []drive.Component{{Name: "role", Config: map[string]any{"role": role, "node_binary": o.node}}},
		PostProcessors: []drive.Component{{Name: "manifest", Config: map[string]any{"output": o.output}}},
	}, &packersdk.BasicUi{Reader: strings.NewReader(""), Writer: w, ErrorWriter: w}, o.log)
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	fmt.Printf("%s: %s in %s\n", role, artifact.Id(), time.Since(begun).Round(time.Second))
	return drive.Close(artifact)
}

// prefixed says of each line whose it is.
type prefixed struct{ prefix string }

// Write implements io.Writer.
func (p *prefixed) Write(b []byte) (int, error) {
	var out strings.Builder
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			_, _ = fmt.Fprintln(&out, p.prefix+line)
		}
	}
	_, err := io.WriteString(os.Stdout, out.String())
	return len(b), err
}
