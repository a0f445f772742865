// Bake builds the images of a Packer template, such as examples/images, for make
// images. It skips images that already exist with the same content. It builds with
// Packer if -packer is set, and otherwise runs the plugin's binary itself; template
// and plugin are the same in both cases.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/xeroops/xeroops/packer-plugin/internal/packerhcl"
)

type options struct {
	dir       string // of the template
	variables variables
	plugin    string
	packer    string // "" drives the plugin itself
	parallel  int
	fresh     bool
	contents  bool
	log       io.Writer
}

// variables holds the template's variables, set as name=value.
type variables map[string]string

// String implements flag.Value.
func (v variables) String() string { return "" }

// Set implements flag.Value.
func (v variables) Set(argument string) error {
	name, value, ok := strings.Cut(argument, "=")
	if !ok {
		return errors.New("must have the form name=value")
	}
	v[name] = value
	return nil
}

func main() {
	o := options{variables: variables{}}
	var log string
	flag.Var(o.variables, "var", "a variable of the template, name=value; may be repeated")
	flag.StringVar(&o.plugin, "plugin", "bin/packer-plugin-xeroops", "the plugin's binary")
	flag.StringVar(&o.packer, "packer", "", "Packer to build with; without it the plugin is driven directly")
	flag.IntVar(&o.parallel, "parallel", 5, "builds at a time")
	flag.BoolVar(&o.fresh, "fresh", false, "also build images that exist")
	flag.BoolVar(&o.contents, "contents", false, "build nothing, print the content sum of each image")
	flag.StringVar(&log, "log", os.DevNull, "file for the plugin's log")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "usage: bake [flags] TEMPLATE-DIRECTORY")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	o.dir = flag.Arg(0)
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
	stdlog.SetOutput(file) // for the SDK's log of this process
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	started := time.Now()
	images, err := o.images()
	if err != nil {
		return err
	}
	if o.contents {
		for _, i := range images {
			fmt.Println(i.Name, i.content)
		}
		return nil
	}
	missing, err := o.missing(ctx, images)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		if err := o.build(ctx, missing); err != nil {
			return err
		}
	}
	fmt.Printf("%d images in %s: %d built, %d unchanged\n", len(images), time.Since(started).Round(10*time.Millisecond), len(missing), len(images)-len(missing))
	return nil
}

// images returns all images that the template builds.
func (o options) images() ([]image, error) {
	builds, err := packerhcl.Load(o.dir, o.variables, time.Now())
	if err != nil {
		return nil, err
	}
	return contentsOf(builds)
}

// missing returns the images that have to be built, and runs the template's
// post-processors for the others.
func (o options) missing(ctx context.Context, images []image) (missing []image, err error) {
	if o.fresh {
		return images, nil
	}
	for _, i := range images {
		found, err := i.find(ctx)
		if err != nil {
			return nil, fmt.Errorf("find an image of %s: %w", i.Name, err)
		}
		if found == nil {
			missing = append(missing, i)
			continue
		}
		ui := screen(i.Name)
		if err := i.keep(ctx, found, ui); err != nil {
			return nil, err
		}
		ui.Say("unchanged: " + found.Id())
	}
	return missing, nil
}

func (o options) build(ctx context.Context, missing []image) error {
	if o.packer != "" {
		return o.buildWithPacker(missing)
	}
	return o.drive(ctx, missing)
}
