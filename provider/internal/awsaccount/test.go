package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/xeroops/xeroops/provider/internal/acctest/workspace"
)

// manifest is the file of the image ids, which Terraform reads in its working directory.
const manifest = "images.auto.tfvars.json"

// test builds the images with Packer, and applies, plans and destroys the complete
// example. Its steps print their output.
func test(ctx context.Context, sshFrom string, out io.Writer) error {
	module, err := workspace.Module()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "xeroops-acceptance-")
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "Working directory, with the state: %s\n", dir)
	binary, err := workspace.Build(ctx, module, dir)
	if err != nil {
		return err
	}
	if err := images(ctx, module, dir, sshFrom, out); err != nil {
		return err
	}
	w, err := workspace.New(ctx, workspace.Options{Dir: filepath.Join(dir, "terraform"), Module: module, Example: "examples/complete", Binary: binary,
		Variables: map[string]string{"name": project, "keep_data": "false"}})
	if err != nil {
		return err
	}
	ids, err := os.ReadFile(filepath.Join(dir, manifest))
	if err == nil {
		err = os.WriteFile(filepath.Join(w.Root(), manifest), ids, 0o600)
	}
	if err != nil {
		return fmt.Errorf("pass the images on to Terraform: %w", err)
	}
	for _, step := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{{"apply", w.Apply}, {"plan", w.PlanEmpty}, {"destroy", w.Destroy}} {
		text, err := step.run(ctx)
		_, _ = fmt.Fprintf(out, "%s\n%s\n", step.name, text)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// images builds the images of all roles with make build's plugin and agent.
func images(ctx context.Context, module, dir, sshFrom string, out io.Writer) error {
	template := filepath.Join(module, "examples", "images")
	for _, args := range [][]string{
		{"plugins", "install", "--path", filepath.Join(module, "bin", "packer-plugin-xeroops"), "github.com/xeroops/xeroops"},
		{"build", "-color=false", "-var", "node_binary=" + filepath.Join(module, "bin", "xeroops-node"), "-var", `ssh_from=["` + sshFrom + `"]`,
			"-var", "manifest=" + filepath.Join(dir, manifest), "-var", `tags={project="` + project + `"}`, template},
	} {
		cmd := exec.CommandContext(ctx, "packer", args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("packer %s: %w", args[0], err)
		}
	}
	return nil
}
