package role

import (
	"context"
	"debug/elf"
	"fmt"
	"strings"
)

// machines maps the output of uname -m to a program's machine and Go's name of it.
var machines = map[string]struct {
	machine elf.Machine
	goarch  string
}{
	"x86_64":  {elf.EM_X86_64, "amd64"},
	"aarch64": {elf.EM_AARCH64, "arm64"},
}

// checkArchitecture refuses a node_binary for another architecture than the machine's,
// before anything is installed. What is not a program is left to the verification.
func (p *Provisioner) checkArchitecture(ctx context.Context, m *machine) error {
	if p.config.NodeBinary == "" {
		return nil
	}
	program, err := elf.Open(p.config.NodeBinary)
	if err != nil {
		return nil //nolint:nilerr // not a program
	}
	defer func() { _ = program.Close() }()
	out, err := m.output(ctx, "uname -m")
	if err != nil {
		return err
	}
	name := strings.TrimSpace(out)
	if want, known := machines[name]; known && program.Machine != want.machine {
		return fmt.Errorf("node_binary %s is built for %s, and the machine is %s; use the xeroops-node of linux_%s", p.config.NodeBinary, program.Machine, name, want.goarch)
	}
	return nil
}
