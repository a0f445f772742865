package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/xeroops/xeroops/packer-plugin/internal/drive"
)

// drive builds images concurrently, without Packer. A failed build does not stop
// the others.
func (o options) drive(ctx context.Context, images []image) error {
	free := make(chan struct{}, o.parallel)
	errs := make([]error, len(images))
	var all sync.WaitGroup
	for n, i := range images {
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			if errs[n] = ctx.Err(); errs[n] == nil {
				errs[n] = o.bake(ctx, i)
			}
		})
	}
	all.Wait()
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

func (o options) bake(ctx context.Context, i image) error {
	started := time.Now()
	ui := screen(i.Name)
	artifact, err := drive.Build(ctx, o.plugin, i.Template, ui, o.log)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	if artifact == nil {
		ui.Say("built no image, because skip_create_ami is set")
		return nil
	}
	ui.Say(fmt.Sprintf("built in %s: %s", time.Since(started).Round(100*time.Millisecond), artifact.Id()))
	return drive.Close(artifact)
}

// screen returns a Ui that prefixes each line with the build's name.
func screen(name string) packersdk.Ui {
	w := &prefixed{prefix: name + ": "}
	return &packersdk.BasicUi{Reader: strings.NewReader(""), Writer: w, ErrorWriter: w}
}

// prefixed writes lines with a prefix to standard output.
type prefixed struct{ prefix string }

// Write implements io.Writer.
func (p *prefixed) Write(b []byte) (int, error) {
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			out.WriteString(p.prefix + line + "\n")
		}
	}
	_, err := io.WriteString(os.Stdout, out.String())
	return len(b), err
}
