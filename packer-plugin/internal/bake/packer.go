package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildWithPacker builds images with Packer, with the plugin installed for this run
// only. It does not forward signals: Ctrl-C in a terminal reaches Packer anyway, and
// a second interrupt would stop its cleanup.
func (o options) buildWithPacker(images []image) error {
	dir, err := os.MkdirTemp("", "xeroops-packer-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	run := func(args ...string) error {
		cmd := exec.Command(o.packer, args...)
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_CONFIG_DIR="+dir, "PACKER_PLUGIN_PATH="+filepath.Join(dir, "plugins"))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("packer %s: %w", args[0], err)
		}
		return nil
	}
	var only []string
	for _, i := range images {
		only = append(only, "xeroops-"+i.Template.Builder.Name+"."+i.Name)
	}
	args := []string{"build", "-only=" + strings.Join(only, ","), fmt.Sprintf("-parallel-builds=%d", o.parallel)}
	for name, value := range o.variables {
		args = append(args, "-var", name+"="+value)
	}
	if err := run("plugins", "install", "--path", o.plugin, "github.com/xeroops/xeroops"); err != nil {
		return err
	}
	if err := run("init", o.dir); err != nil {
		return err
	}
	return run(append(args, o.dir)...)
}
