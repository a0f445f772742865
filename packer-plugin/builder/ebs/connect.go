package ebs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/awswait"
)

// connect connects over SSH, to the machine that has the host key and to no
// other.
func (b *build) connect(state multistep.StateBag) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		step := &communicator.StepConnect{
			Config: &b.config.Comm,
			Host:   func(multistep.StateBag) (string, error) { return b.host() },
			SSHConfig: func(state multistep.StateBag) (*ssh.ClientConfig, error) {
				c, err := b.config.Comm.SSHConfigFunc()(state)
				if err != nil {
					return nil, err
				}
				c.HostKeyAlgorithms = []string{b.hostKey.public.Type()}
				c.HostKeyCallback = b.checkHost(cancel)
				return c, nil
			},
		}
		if err := b.awaitPort(ctx); err != nil {
			return err
		}
		action := step.Run(ctx, state)
		if b.hostKey.other.Load() {
			return fmt.Errorf("%w: is something else at that address?", errOtherHost)
		}
		if action == multistep.ActionHalt {
			if err, ok := state.Get("error").(error); ok {
				return err
			}
			return errors.New("cancelled")
		}
		b.comm = state.Get("communicator").(packersdk.Communicator)
		return nil
	}
}

// awaitPort waits until something listens at the address: the SDK's own waiting
// looks every five seconds only.
func (b *build) awaitPort(ctx context.Context) error {
	c := b.config.Comm
	host, err := b.host()
	if err != nil || c.SSHBastionHost != "" || c.SSHProxyHost != "" || c.SSHTimeout == 0 {
		return err
	}
	address := net.JoinHostPort(host, strconv.Itoa(c.SSHPort))
	dialer := net.Dialer{Timeout: time.Second}
	err = awswait.Until(ctx, c.SSHTimeout, func(ctx context.Context) (bool, string, error) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return false, "refusing SSH at " + address, nil //nolint:nilerr // it is what is waited for
		}
		return true, "", conn.Close()
	})
	if err != nil {
		return fmt.Errorf("%w; is the way there open: the subnet's route, the security group, the network's ACL?", err)
	}
	return nil
}

// checkHost ends the waiting at once when another machine answers: it will not
// turn into the right one.
func (b *build) checkHost(cancel func()) ssh.HostKeyCallback {
	return func(host string, address net.Addr, shown ssh.PublicKey) error {
		err := b.hostKey.check(host, address, shown)
		if err != nil {
			cancel()
		}
		return err
	}
}

// host is the address to connect to.
func (b *build) host() (string, error) {
	public, private := aws.ToString(b.instance.PublicIpAddress), aws.ToString(b.instance.PrivateIpAddress)
	switch {
	case b.config.Comm.SSHHost != "":
		return b.config.Comm.SSHHost, nil
	case b.config.SSHInterface == "public_ip" && public == "":
		return "", fmt.Errorf("%s has no public address; set associate_public_ip_address or ssh_interface = \"private_ip\"", aws.ToString(b.instance.InstanceId))
	case public != "" && b.config.SSHInterface != "private_ip":
		return public, nil
	}
	return private, nil
}

// cloudInitDegraded is cloud-init's exit status for errors that it recovered
// from (cloud-init's docs, "return codes").
const cloudInitDegraded = 2

// awaitCloudInit waits until the machine is set up, where it has cloud-init.
func (b *build) awaitCloudInit(ctx context.Context) error {
	status, output, err := b.runRemote(ctx, "if command -v cloud-init >/dev/null; then cloud-init status --wait --long; fi")
	if err != nil {
		return err
	}
	switch status {
	case 0:
		return nil
	case cloudInitDegraded:
		b.say("cloud-init met errors that it recovered from:\n%s", output)
		return nil
	}
	return fmt.Errorf("cloud-init ended with status %d: %s", status, output)
}

// runRemote runs a command on the machine.
func (b *build) runRemote(ctx context.Context, command string) (status int, output string, err error) {
	var out bytes.Buffer
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: &out}
	if err := b.comm.Start(ctx, cmd); err != nil {
		return 0, "", fmt.Errorf("run %q: %w", command, err)
	}
	exited := make(chan int, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case <-ctx.Done():
		return 0, "", ctx.Err()
	case status = <-exited:
		return status, out.String(), nil
	}
}

// clearKey removes the build's key from the users' authorized keys, where
// ssh_clear_authorized_keys asks for that.
func (b *build) clearKey(ctx context.Context) error {
	if !b.config.Comm.SSHClearAuthorizedKeys || !b.keyImported {
		return nil
	}
	key := strings.Fields(string(b.publicKey))[1]
	command := fmt.Sprintf("for f in ~/.ssh/authorized_keys /root/.ssh/authorized_keys; do "+
		"if sudo -n test -e $f; then sudo -n sed -i '\\|%s|d' $f; fi; done", key)
	status, _, err := b.runRemote(ctx, command)
	if err == nil && status != 0 {
		err = fmt.Errorf("sed ended with status %d", status)
	}
	return err
}

// provision runs the provisioners.
func (b *build) provision(ctx context.Context) error {
	return b.runHook(ctx, packersdk.HookProvision)
}

// cleanUpProvision runs the error-cleanup-provisioner, if there is one.
func (b *build) cleanUpProvision(ctx context.Context) error {
	if b.err == nil || b.comm == nil {
		return nil
	}
	return b.runHook(ctx, packersdk.HookCleanupProvision)
}

func (b *build) runHook(ctx context.Context, name string) error {
	if b.hook == nil {
		return nil
	}
	host, err := b.host()
	if err != nil {
		return err
	}
	c := b.config.Comm
	data := map[string]any{
		"ID": aws.ToString(b.instance.InstanceId), "PackerRunUUID": os.Getenv("PACKER_RUN_UUID"),
		"Host": host, "Port": c.SSHPort, "User": c.SSHUsername, "Password": c.SSHPassword, "ConnType": c.Type,
		"SSHPrivateKey": string(c.SSHPrivateKey), "SSHPrivateKeyFile": c.SSHPrivateKeyFile, "SSHPublicKey": "", "SSHAgentAuth": c.SSHAgentAuth,
		"SourceAMI": aws.ToString(b.source.ImageId), "SourceAMIName": aws.ToString(b.source.Name), "BuildRegion": b.aws.Region,
	}
	done := make(chan error, 1)
	go func() { done <- b.hook.Run(ctx, name, b.ui, b.comm, data) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // a provisioner that does not stop must not keep the machine
		return ctx.Err()
	}
}
