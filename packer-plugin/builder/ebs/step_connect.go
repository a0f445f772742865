package ebs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"golang.org/x/crypto/ssh"

	"github.com/xeroops/xeroops/internal/awswait"
)

// stepConnect connects over SSH to the machine that has the host key.
type stepConnect struct{ noCleanup }

// Run implements multistep.Step.
func (s *stepConnect) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return run(ctx, state, "connect", func(ctx context.Context, b *build) error {
		instance, source := keyInstance.get(state), keySourceImage.get(state)
		host, err := sshHost(b.config, instance)
		if err != nil {
			return err
		}
		if err := awaitPort(ctx, b.config, host); err != nil {
			return err
		}
		keyGeneratedData.put(state, map[string]any{
			"SourceAMI": aws.ToString(source.ImageId), "SourceAMIName": aws.ToString(source.Name), "BuildRegion": b.aws.Region,
		})
		return s.connect(ctx, b, state, host)
	})
}

func (s *stepConnect) connect(ctx context.Context, b *build, state multistep.StateBag, host string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	key := keyHostKey.get(state)
	key.mismatch.Store(false)
	step := &communicator.StepConnect{
		Config: &b.config.Comm,
		Host:   func(multistep.StateBag) (string, error) { return host, nil },
		SSHConfig: func(state multistep.StateBag) (*ssh.ClientConfig, error) {
			c, err := b.config.Comm.SSHConfigFunc()(state)
			if err != nil {
				return nil, err
			}
			c.HostKeyAlgorithms = []string{key.public.Type()}
			c.HostKeyCallback = checkHostKey(key, cancel)
			return c, nil
		},
	}
	action := step.Run(ctx, state)
	if key.mismatch.Load() {
		return fmt.Errorf("%w: does another machine have that address?", errHostKeyMismatch)
	}
	if action != multistep.ActionHalt {
		return nil
	}
	if err := keyError.get(state); err != nil {
		return err
	}
	return errors.New("cancelled")
}

// checkHostKey returns a callback that stops the connection attempts when
// another machine answers: retrying would not help.
func checkHostKey(key *hostKey, stop func()) ssh.HostKeyCallback {
	return func(host string, address net.Addr, shown ssh.PublicKey) error {
		err := key.check(host, address, shown)
		if err != nil {
			stop()
		}
		return err
	}
}

// awaitPort waits until SSH accepts connections, because the SDK tries only
// every five seconds.
func awaitPort(ctx context.Context, config *Config, host string) error {
	c := config.Comm
	if c.SSHBastionHost != "" || c.SSHProxyHost != "" || c.SSHTimeout == 0 {
		return nil
	}
	address := net.JoinHostPort(host, strconv.Itoa(c.SSHPort))
	dialer := net.Dialer{Timeout: time.Second}
	err := awswait.Until(ctx, c.SSHTimeout, func(ctx context.Context) (bool, string, error) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return false, "refusing SSH at " + address, nil //nolint:nilerr // the condition that is awaited
		}
		return true, "", conn.Close()
	})
	if err != nil {
		return fmt.Errorf("%w; check the subnet's route, the security group and the network ACL", err)
	}
	return nil
}

// sshHost returns the address to connect to.
func sshHost(c *Config, instance types.Instance) (string, error) {
	public, private := aws.ToString(instance.PublicIpAddress), aws.ToString(instance.PrivateIpAddress)
	switch {
	case c.Comm.SSHHost != "":
		return c.Comm.SSHHost, nil
	case c.SSHInterface == "public_ip" && public == "":
		return "", fmt.Errorf("%s has no public address; set associate_public_ip_address or ssh_interface = \"private_ip\"", aws.ToString(instance.InstanceId))
	case public != "" && c.SSHInterface != "private_ip":
		return public, nil
	}
	return private, nil
}
