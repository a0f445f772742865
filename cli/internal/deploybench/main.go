// Deploybench measures deployments on a running cluster, such as the lab's: how
// long it takes from publishing a version until all app nodes are healthy, how
// long a rollback takes, and how long until a broken release is reported as
// failed, all under load. It publishes as xeroops deploy does; what it deploys
// is a generated application with 39 dependencies.
//
//	deploybench -via 'xeroops-lab connect %h %p' -load 'xeroops-lab exec -- generator -fresh -await 30s -url https://198.51.100.1/api/bench/'
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/xeroops/xeroops/cli/internal/access"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/registry"
)

func main() {
	var settings access.Settings
	flag.StringVar(&settings.Via, "via", "", "`command` that connects its standard input and output to %h %p, the registry")
	flag.StringVar(&settings.UploadsBucket, "uploads-bucket", "", "the uploads bucket; uploads-ACCOUNT by default")
	flag.StringVar(&settings.Cluster, "cluster", "", "the cluster's name; the only one in the bucket by default")
	load := flag.String("load", "", "`command` of a load generator that runs until its standard input is closed, and then prints a report")
	runs := flag.Int("runs", 20, "number of deployments")
	wheels := flag.Int("wheels", 40, "number of wheels in a bundle")
	flag.Parse()
	if err := run(context.Background(), settings, *load, *runs, *wheels); err != nil {
		fmt.Fprintln(os.Stderr, "deploybench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, settings access.Settings, load string, runs, wheels int) error {
	a, err := access.Open(ctx, settings)
	if err != nil {
		return err
	}
	client, err := a.Registry(ctx, registry.UserDeploy)
	if err != nil {
		return err
	}
	defer client.Close()
	b := &bench{access: a, registry: client, nodes: a.NodesOf(cluster.RoleApp), wheels: wheels, series: fmt.Sprint(time.Now().Unix())}
	if b.python, err = registry.ReadPython(ctx, client, b.nodes); err != nil {
		return err
	}
	if _, _, err := b.deploy(ctx, "first", sound); err != nil { // so that requests of the load are answered
		return err
	}
	stop, err := startLoad(load)
	if err != nil {
		return err
	}
	err = b.measure(ctx, runs)
	report, loadErr := stop()
	fmt.Println("load:", report)
	if err == nil {
		err = loadErr
	}
	return err
}

// startLoad starts a load generator. stop ends it and returns its output.
func startLoad(command string) (stop func() (string, error), err error) {
	if command == "" {
		return func() (string, error) { return "none", nil }, nil
	}
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the load generator: %w", err)
	}
	return func() (string, error) {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			return "", fmt.Errorf("load generator: %w", err)
		}
		return strings.TrimSpace(out.String()), nil
	}, nil
}
