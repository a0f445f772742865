// Bake builds the images of a Packer template, such as examples/images, that are
// not there yet: an image that was made of the same content is taken as it is. It
// is what make images uses: with Packer where that is named, else by driving the
// plugin's binary itself. The template and the plugin are the same for both.
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
	folder    string // of the template
	variables variables
	plugin    string
	packer    string // "" drives the plugin itself
	parallel  int
	fresh     bool
	contents  bool
	log       io.Writer
}

// variables are those of the template, given as name=value.
type variables map[string]string

// String implements flag.Value.
func (v variables) String() string { return "" }

// Set implements flag.Value.
func (v variables) Set(given string) error {
	name, value, ok := strings.Cut(given, "=")
	if !ok {
		return errors.New("give it as name=value")
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
	o.folder = flag.Arg(0)
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	begun := time.Now()
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
	fmt.Printf("%d images in %s: %d built, %d unchanged\n", len(images), time.Since(begun).Round(10*time.Millisecond), len(missing), len(images)-len(missing))
	return nil
}

// images are all that the template builds.
func (o options) images() ([]image, error) {
	builds, err := packerhcl.Load(o.folder, o.variables, time.Now())
	if err != nil {
		return nil, err
	}
	return contentsOf(builds)
}

// missing are the images that have to be built; of the others the template's
// post-processors are told.
func (o options) missing(ctx context.Context, images []image) (missing []image, err error) {
	if o.fresh {
		return images, nil
	}
	for _, i := range images {
		found, err := i.find(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for an image of %s: %w", i.Name, err)
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
