// Awsaccount runs the complete example in a real AWS account, images included, and
// removes what a broken run left:
//
//	awsaccount test    build the images, apply, plan, destroy, sweep
//	awsaccount sweep   remove what has the tag project = xeroops-acceptance
//
// It asks for the account's id before it does anything, and ends a run that would cost
// more than the cap (-max-usd).
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// project is the name of the cluster and the value of the tag project, by which a sweep
// finds what a run created.
const project = "xeroops-acceptance"

// usdPerHour is what the reference cluster and five build instances cost an hour
// (docs/guides/aws.md: 0.24 and 0.12), rounded up.
const usdPerHour = 0.50

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "awsaccount:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("awsaccount", flag.ContinueOnError)
	maxUSD := flags.Float64("max-usd", 2, "end a run that would cost more")
	sshFrom := flags.String("ssh-from", "", "network that Packer connects from, such as 203.0.113.7/32")
	if len(args) == 0 || args[0] != "test" && args[0] != "sweep" {
		return errors.New("use awsaccount test or awsaccount sweep")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if args[0] == "test" && *sshFrom == "" {
		return errors.New("-ssh-from is missing: the network that Packer connects from, such as 203.0.113.7/32")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("configure AWS: %w", err)
	}
	account, err := confirm(ctx, cfg, args[0], *maxUSD, in, out)
	if err != nil {
		return err
	}
	s := newSweeper(cfg, account, out)
	if args[0] == "sweep" {
		return s.sweep(ctx)
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit(*maxUSD), fmt.Errorf("the run would cost more than %.2f USD", *maxUSD))
	defer cancel()
	failed := test(limited, *sshFrom, out)
	if err := s.sweep(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("%w; then the sweep failed: %w", cmp.Or(failed, errors.New("the run succeeded")), err)
	}
	return failed
}

// limit returns how long a run may take for that price.
func limit(maxUSD float64) time.Duration {
	return time.Duration(maxUSD / usdPerHour * float64(time.Hour))
}

// confirm shows what is about to happen, and returns the account if its id is entered.
func confirm(ctx context.Context, cfg aws.Config, command string, maxUSD float64, in io.Reader, out io.Writer) (string, error) {
	if cfg.Region == "" {
		return "", errors.New("no region; set AWS_REGION")
	}
	identity, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("find the account of the AWS credentials: %w", err)
	}
	account := aws.ToString(identity.Account)
	what := fmt.Sprintf("delete everything with the tag project = %s", project)
	if command == "test" {
		what = fmt.Sprintf("build five images and run seven instances for at most %s, about %.2f USD, and then %s", limit(maxUSD).Round(time.Minute), maxUSD, what)
	}
	_, _ = fmt.Fprintf(out, "Account %s (%s), region %s:\n%s.\nEnter the account's id to continue: ", account, aws.ToString(identity.Arn), cfg.Region, what)
	line, _ := bufio.NewReader(in).ReadString('\n') // an end of input is no confirmation
	if strings.TrimSpace(line) != account {
		return "", errors.New("not confirmed, nothing was changed")
	}
	return account, nil
}
