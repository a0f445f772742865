// Package instance provides a node's identity, settings and credentials: instance.env of
// the user data, the settings in /etc/environment, the secrets in /run/xeroops and the
// metadata service. `xeroops-node boot` writes the files
// (docs/design.md#user-data-and-boot); the node's other daemons read them here.
package instance

import (
	"fmt"
	"os"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/internal/envfile"
)

// The files of a node.
const (
	File             = "/etc/xeroops/instance.env"      // from user-data
	EnvironmentFile  = "/etc/environment"               // instance.env and instance-config.env, in a block
	CredentialsFile  = "/run/xeroops/credentials.env"   // 0600: the role's prod-credentials.env
	ApplicationsFile = "/run/xeroops/applications.env"  // 0600, app nodes: the credentials for applications
	RegisteredFile   = "/run/xeroops/applications.json" // []registry.Application, by deployments
	missingAdvice    = "cloud-init writes it from the user data at the first boot; see cloud-init status --long"
)

// Instance is a node's identity according to its user data.
type Instance struct {
	Node          string
	Role          cluster.Role
	Address       string // private IPv4
	Cluster       string
	Region        string
	UploadsBucket string
}

// Load reads [File]. The error is [fs.ErrNotExist] if the file does not exist (yet).
func Load() (Instance, error) { return LoadFile(File) }

// LoadFile reads an instance.env at another path.
func LoadFile(path string) (Instance, error) {
	vars, err := readEnv(path)
	if err != nil {
		return Instance{}, fmt.Errorf("read the node's identity: %w; %s", err, missingAdvice)
	}
	i, err := fromEnv(vars)
	if err != nil {
		return Instance{}, fmt.Errorf("read the node's identity: %s: %w", path, err)
	}
	return i, nil
}

// fromEnv returns the instance that the variables of instance.env describe.
func fromEnv(vars map[string]string) (Instance, error) {
	for _, name := range []string{cluster.EnvHostname, cluster.EnvRole, cluster.EnvAddress, cluster.EnvCluster, cluster.EnvRegion, cluster.EnvUploadsBucket} {
		if vars[name] == "" {
			return Instance{}, fmt.Errorf("%s is missing", name)
		}
	}
	role, err := cluster.ParseRole(vars[cluster.EnvRole])
	if err != nil {
		return Instance{}, fmt.Errorf("INSTANCE_ROLE: %w", err)
	}
	return Instance{Node: vars[cluster.EnvHostname], Role: role, Address: vars[cluster.EnvAddress], Cluster: vars[cluster.EnvCluster],
		Region: vars[cluster.EnvRegion], UploadsBucket: vars[cluster.EnvUploadsBucket]}, nil
}

// Env returns the variables of instance.env.
func (i Instance) Env() map[string]string {
	return map[string]string{cluster.EnvHostname: i.Node, cluster.EnvRole: string(i.Role), cluster.EnvAddress: i.Address,
		cluster.EnvCluster: i.Cluster, cluster.EnvRegion: i.Region, cluster.EnvUploadsBucket: i.UploadsBucket}
}

// Layout returns the names of the cluster's objects in the uploads bucket.
func (i Instance) Layout() cluster.Layout { return cluster.Layout{Cluster: i.Cluster} }

// RegistryPassword returns the password of the registry's user node from the environment.
// Daemons that do not run as root get it from systemd, since they cannot read
// [CredentialsFile].
func RegistryPassword() (string, error) {
	password := os.Getenv(cluster.RedisNodePassword)
	if password == "" {
		return "", fmt.Errorf("%s is not set; infrastructure-ready.service writes it to /run/xeroops/registry.env, which the unit reads", cluster.RedisNodePassword)
	}
	return password, nil
}

// Config returns the node's settings, which are in the block that boot writes to
// [EnvironmentFile].
func Config() (map[string]string, error) {
	text, err := os.ReadFile(EnvironmentFile)
	if err != nil {
		return nil, fmt.Errorf("read the node's settings: %w", err)
	}
	_, block, found := cutBlock(string(text))
	if !found {
		return nil, fmt.Errorf("read the node's settings: %s has none; infrastructure-ready.service writes them", EnvironmentFile)
	}
	vars, err := envfile.Parse(block)
	if err != nil {
		return nil, fmt.Errorf("read the node's settings: %s: %w", EnvironmentFile, err)
	}
	return vars, nil
}

func readEnv(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	vars, err := envfile.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return vars, nil
}
