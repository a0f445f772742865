// Accountd is a stand-in for an AWS account without machines: moto behind a front
// that corrects its differences from AWS. make up uses it where the lab can't run.
// It runs until SIGINT or SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
)

func main() {
	env := flag.String("env", "account.env", "file for the environment of AWS clients, written once the account is available")
	flag.Parse()
	if err := run(*env); err != nil {
		fmt.Fprintln(os.Stderr, "accountd:", err)
		os.Exit(1)
	}
}

func run(env string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	moto, err := moto.Start(ctx, moto.Options{})
	if err != nil {
		return err
	}
	defer moto.Stop()
	front, err := fakeaws.Start(fakeaws.Options{Upstream: moto.URL, Fixups: fixups.All(fixups.Options{})})
	if err != nil {
		return err
	}
	defer func() { _ = front.Close() }()
	content := fmt.Sprintf("export AWS_ENDPOINT_URL=%s AWS_REGION=eu-west-1 AWS_ACCESS_KEY_ID=lab AWS_SECRET_ACCESS_KEY=lab AWS_EC2_METADATA_DISABLED=true\n", front.URL)
	if err := os.WriteFile(env+".new", []byte(content), 0o600); err != nil {
		return err
	}
	if err := os.Rename(env+".new", env); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
