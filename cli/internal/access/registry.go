package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/cli/internal/proxycommand"
	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/internal/registry"
)

// answerWithin is the deadline for the registry's first answer; a command of --via
// may have to log in to a host first.
const answerWithin = 15 * time.Second

// Registry connects to the registry on the management node as one of its users, and
// returns once it has answered. The password comes from S3, and is kept in memory only.
func (a *Access) Registry(ctx context.Context, user string) (*redis.Client, error) {
	var management string
	for _, n := range a.Topology.Nodes {
		if n.Role == cluster.RoleManagement {
			management = net.JoinHostPort(n.Address, registry.Port)
			break
		}
	}
	if management == "" {
		return nil, fmt.Errorf("%w: cluster %s has no management node", ErrUnreachable, a.Cluster)
	}
	password, err := a.password(ctx, user)
	if err != nil {
		return nil, err
	}
	client := registry.OpenVia(proxycommand.Dialer(a.via), management, user, password)
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	// Cancelling ctx does not end a read; closing the connection does.
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	if _, err := registry.ReadApplications(ctx, client.WithTimeout(answerWithin)); err != nil {
		_ = client.Close() // the first error is returned
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", answerWithin)
		}
		return nil, fmt.Errorf("%w: the registry at %s: %w; %s", ErrUnreachable, management, err, a.wayOut(err))
	}
	return client, nil
}

func (a *Access) password(ctx context.Context, user string) (string, error) {
	key, variable := cluster.Layout{Cluster: a.Cluster}.OperatorCredentials(user), cluster.OperatorPasswords[user]
	content, err := a.Object(ctx, key)
	if err != nil {
		return "", fmt.Errorf("%w: the registry's password: %w; operators need the permission to read this object, and terraform apply writes it", ErrUnreachable, err)
	}
	variables, err := envfile.Parse(string(content))
	if err != nil {
		return "", fmt.Errorf("%w: the registry's password: s3://%s/%s: %w", ErrUnreachable, a.Bucket, key, err)
	}
	password := variables[variable]
	if password == "" {
		return "", fmt.Errorf("%w: s3://%s/%s has no %s; terraform apply writes it", ErrUnreachable, a.Bucket, key, variable)
	}
	return password, nil
}

// wayOut returns what to do if the registry does not answer.
func (a *Access) wayOut(err error) string {
	switch {
	case strings.Contains(err.Error(), "WRONGPASS"): // Redis has no error code for it
		return "its password differs from the one in S3: the management node has not applied a rotation or an update yet; nodes read new credentials at their next boot"
	case a.via != "":
		return fmt.Sprintf("the connection uses --via %q: try that command alone", a.via)
	default:
		return "connect to the VPN, or set --via to a command that connects"
	}
}
