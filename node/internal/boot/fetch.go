package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/instance"
	"github.com/xeroops/xeroops/node/internal/topology"
)

// fetchTimeout limits the download of an object.
const fetchTimeout = 15 * time.Second

// maxEnvFileBytes is more than any env file or certificate has.
const maxEnvFileBytes = 1 << 20

// fetch downloads an object of at most maxEnvFileBytes from the uploads bucket.
func (b *Boot) fetch(ctx context.Context, key string) (content []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	out, err := b.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.Instance.UploadsBucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("fetch s3://%s/%s: %w", b.Instance.UploadsBucket, key, err)
	}
	defer func() { err = errors.Join(err, out.Body.Close()) }()
	if content, err = io.ReadAll(io.LimitReader(out.Body, maxEnvFileBytes)); err != nil {
		return nil, fmt.Errorf("fetch s3://%s/%s: %w", b.Instance.UploadsBucket, key, err)
	}
	return content, nil
}

// fetchEnv downloads an env file from the uploads bucket.
func (b *Boot) fetchEnv(ctx context.Context, key string) (map[string]string, error) {
	text, err := b.fetch(ctx, key)
	if err != nil {
		return nil, err
	}
	vars, err := envfile.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("parse s3://%s/%s: %w", b.Instance.UploadsBucket, key, err)
	}
	return vars, nil
}

// fetchConfig downloads the node's settings and merges them into /etc/environment.
func (b *Boot) fetchConfig(ctx context.Context) error {
	vars, err := b.fetchEnv(ctx, b.Instance.Layout().InstanceConfig(b.Instance.Node))
	if err != nil {
		return err
	}
	maps.Copy(vars, b.Instance.Env())
	current, err := os.ReadFile(b.Files.Environment)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, err := instance.MergeEnvironment(string(current), vars)
	if err != nil {
		return fmt.Errorf("merge the settings of node %s: %w", b.Instance.Node, err)
	}
	b.config = vars
	_, err = atomicfile.WriteFile(b.Files.Environment, []byte(text), 0o644)
	return err
}

// fetchCredentials downloads the role's credentials to files in memory that only root can
// read.
func (b *Boot) fetchCredentials(ctx context.Context) error {
	vars, err := b.fetchEnv(ctx, b.Instance.Layout().Credentials(b.Instance.Role))
	if err != nil {
		return err
	}
	b.credentials = vars
	b.status.secrets = slices.Collect(maps.Values(vars))
	if err := writeSecret(b.Files.Credentials, vars); err != nil {
		return err
	}
	if b.Instance.Role != cluster.RoleApp {
		return nil
	}
	return writeSecret(b.Files.Applications, cluster.ApplicationCredentials(vars))
}

func writeSecret(path string, vars map[string]string) error {
	text, err := envfile.Format(vars)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = atomicfile.WriteFile(path, []byte(text), 0o600)
	return err
}

// fetchTopology downloads the topology and writes /etc/hosts.
func (b *Boot) fetchTopology(ctx context.Context) error {
	source := topology.Source{S3: b.S3, Bucket: b.Instance.UploadsBucket, Key: b.Instance.Layout().Topology()}
	t, _, err := source.Fetch(ctx)
	if err != nil {
		return err
	}
	b.topology = t
	_, err = b.Files.Topology.Write(t)
	return err
}
