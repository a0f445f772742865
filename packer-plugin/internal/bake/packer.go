package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildWithPacker builds images with Packer, which has the plugin installed for
// this run only. A terminal's Ctrl-C reaches Packer by itself, and a second one
// would keep it from cleaning up: so it is only waited for.
func (o options) buildWithPacker(images []image) error {
	folder, err := os.MkdirTemp("", "xeroops-packer-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	run := func(args ...string) error {
		cmd := exec.Command(o.packer, args...)
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_CONFIG_DIR="+folder, "PACKER_PLUGIN_PATH="+filepath.Join(folder, "plugins"))
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
	if err := run("init", o.folder); err != nil {
		return err
	}
	return run(append(args, o.folder)...)
}
