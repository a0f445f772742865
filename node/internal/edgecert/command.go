package edgecert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/spf13/cobra"

	"github.com/xeroops/xeroops/node/internal/atomicfile"
	"github.com/xeroops/xeroops/node/internal/instance"
)

// The files that nginx.conf names.
const (
	certificateFile = "/run/xeroops/tls/edge.crt"
	keyFile         = "/run/xeroops/tls/edge.key"
)

// Command returns `xeroops-node edge-certificate`, which runs before nginx.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "edge-certificate",
		Short: "Write the edge's certificate from S3 to /run/xeroops/tls, or create a self-signed one if there is none",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := os.Stat(keyFile); err == nil {
				return nil // a restart since the boot needs no S3
			}
			ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
			defer cancel()
			i, err := instance.Load()
			if err != nil {
				return err
			}
			metadata := instance.Metadata()
			store := Store{S3: i.S3By(metadata), Bucket: i.UploadsBucket, Layout: i.Layout()}
			certificate, key, err := store.SelfSigned(ctx, i.Node, names(ctx, i, metadata), time.Now())
			if err != nil {
				return err
			}
			return errors.Join(write(certificateFile, certificate, 0o644), write(keyFile, key, 0o600))
		},
	}
}

func write(path string, content []byte, mode os.FileMode) error {
	_, err := atomicfile.Write(atomicfile.File{Path: path, Content: content, Mode: mode, UID: -1, GID: -1})
	return err
}

// names returns the names of the edge: its public address, if it has one already, its host
// names and its private address.
func names(ctx context.Context, i instance.Instance, metadata *imds.Client) []string {
	names := []string{i.Node, fmt.Sprintf("%s.%s.internal", i.Node, i.Cluster), i.Address}
	out, err := metadata.GetMetadata(ctx, &imds.GetMetadataInput{Path: "public-ipv4"})
	if err != nil {
		return names
	}
	defer func() { _ = out.Content.Close() }()
	public, err := io.ReadAll(io.LimitReader(out.Content, 64))
	if ip := net.ParseIP(strings.TrimSpace(string(public))); err == nil && ip != nil {
		names = append([]string{ip.String()}, names...)
	}
	return names
}
