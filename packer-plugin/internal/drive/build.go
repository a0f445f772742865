package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// Component is a block of a template: its name, such as ebs, and its attributes.
type Component struct {
	Name   string
	Config map[string]any
}

// Template is a build of one source with its provisioners and post-processors, as
// `packer build` would read it from HCL.
type Template struct {
	Builder        Component
	Provisioners   []Component
	PostProcessors []Component
}

// Build builds a template with the plugin. The artifact is nil if the builder creates
// none. A cancelled build has cleaned up when Build returns.
func Build(ctx context.Context, binary string, t Template, ui packersdk.Ui, log io.Writer) (artifact packersdk.Artifact, err error) {
	var running []*Process
	defer func() {
		if err != nil || artifact == nil { // the builder's process serves the artifact
			for _, p := range running {
				p.Stop()
			}
		}
	}()
	start := func(kind, name string) (*Process, error) {
		p, err := Start(ctx, binary, kind, name, log)
		if err == nil {
			running = append(running, p)
		}
		return p, err
	}
	hook, err := provisionHook(t.Provisioners, start)
	if err != nil {
		return nil, err
	}
	p, err := start("builder", t.Builder.Name)
	if err != nil {
		return nil, err
	}
	builder := p.Builder()
	_, warnings, err := builder.Prepare(t.Builder.Config)
	if err != nil {
		return nil, fmt.Errorf("prepare builder %s: %w", t.Builder.Name, err)
	}
	for _, w := range warnings {
		ui.Say("Warning: " + w)
	}
	runCtx, heard := afterFirstMessage(ctx, ui)
	if artifact, err = builder.Run(runCtx, heard, hook); err != nil || artifact == nil {
		return nil, err
	}
	for _, c := range t.PostProcessors {
		if artifact, err = postProcess(ctx, start, c, ui, artifact); err != nil {
			return nil, err
		}
	}
	return &owned{artifact, running}, nil
}

// provisionHook prepares the provisioners and returns the hook that runs them.
func provisionHook(all []Component, start func(kind, name string) (*Process, error)) (packersdk.Hook, error) {
	var provisioners []packersdk.Provisioner
	for _, c := range all {
		p, err := start("provisioner", c.Name)
		if err != nil {
			return nil, err
		}
		provisioner := p.Provisioner()
		if err := provisioner.Prepare(c.Config); err != nil {
			return nil, fmt.Errorf("prepare provisioner %s: %w", c.Name, err)
		}
		provisioners = append(provisioners, provisioner)
	}
	return hookFunc(func(ctx context.Context, name string, ui packersdk.Ui, comm packersdk.Communicator, data any) error {
		if name != packersdk.HookProvision {
			return nil
		}
		generated, _ := data.(map[string]any)
		for _, p := range provisioners {
			runCtx, heard := afterFirstMessage(ctx, ui)
			if err := p.Provision(runCtx, heard, comm, generated); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

func postProcess(ctx context.Context, start func(kind, name string) (*Process, error), c Component, ui packersdk.Ui, artifact packersdk.Artifact) (packersdk.Artifact, error) {
	p, err := start("post-processor", c.Name)
	if err != nil {
		return nil, err
	}
	processor := p.PostProcessor()
	if err := processor.Configure(c.Config); err != nil {
		return nil, fmt.Errorf("configure post-processor %s: %w", c.Name, err)
	}
	result, _, _, err := processor.PostProcess(ctx, ui, artifact)
	if err != nil {
		return nil, fmt.Errorf("post-processor %s: %w", c.Name, err)
	}
	return result, nil
}

type hookFunc func(context.Context, string, packersdk.Ui, packersdk.Communicator, any) error

// Run implements packer.Hook.
func (f hookFunc) Run(ctx context.Context, name string, ui packersdk.Ui, comm packersdk.Communicator, data any) error {
	return f(ctx, name, ui, comm, data)
}

// afterFirstMessage returns a context that is cancelled when ctx is, but not before
// the plugin has printed a message: the SDK's server panics if a call is cancelled
// before it has started.
func afterFirstMessage(ctx context.Context, ui packersdk.Ui) (context.Context, packersdk.Ui) {
	delayed, cancel := context.WithCancel(context.WithoutCancel(ctx))
	heard := &listeningUI{Ui: ui, first: make(chan struct{})}
	context.AfterFunc(ctx, func() {
		<-heard.first
		cancel()
	})
	return delayed, heard
}

// listeningUI detects the first message.
type listeningUI struct {
	packersdk.Ui
	once  sync.Once
	first chan struct{}
}

func (u *listeningUI) hear() { u.once.Do(func() { close(u.first) }) }

// Say implements packer.Ui.
func (u *listeningUI) Say(m string) { u.hear(); u.Ui.Say(m) }

// Message implements packer.Ui.
func (u *listeningUI) Message(m string) { u.Say(m) }

// Error implements packer.Ui.
func (u *listeningUI) Error(m string) { u.hear(); u.Ui.Error(m) }

// owned is an artifact with the processes that serve it.
type owned struct {
	packersdk.Artifact
	processes []*Process
}

// Close stops the processes. The artifact cannot be used afterwards.
func (o *owned) Close() error {
	for _, p := range o.processes {
		p.Stop()
	}
	return nil
}

// Close stops the processes of an artifact of [Build].
func Close(artifact packersdk.Artifact) error {
	if closer, ok := artifact.(io.Closer); ok {
		return closer.Close()
	}
	return errors.New("close: not an artifact of drive.Build")
}
