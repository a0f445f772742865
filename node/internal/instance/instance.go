// Package instance is what a node knows of itself: the user-data's
// instance.env, the settings in /etc/environment, the role's secrets in
// /run/xeroops, and the metadata service. `xeroops-node boot` writes the files
// (docs/design.md#user-data-and-boot); every other daemon of the node reads them here.
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
	EnvironmentFile  = "/etc/environment"               // instance.env and instance-config.env, in a block of ours
	CredentialsFile  = "/run/xeroops/credentials.env"   // 0600: the role's prod-credentials.env
	ApplicationsFile = "/run/xeroops/applications.env"  // 0600, app nodes: the credentials that applications get
	RegisteredFile   = "/run/xeroops/applications.json" // []registry.Application, by deployments
	missingAdvice    = "cloud-init writes it from the user-data at the first boot; see cloud-init status --long"
)

// Instance is who a node is, as its user-data says.
type Instance struct {
	Node          string
	Role          cluster.Role
	Address       string // private IPv4
	Cluster       string
	Region        string
	UploadsBucket string
}

// Load reads [File]. A file that is not there (yet) is an error that is
// [fs.ErrNotExist].
func Load() (Instance, error) { return LoadFile(File) }

// LoadFile reads an instance.env that lies elsewhere.
func LoadFile(path string) (Instance, error) {
	vars, err := readEnv(path)
	if err != nil {
		return Instance{}, fmt.Errorf("who this node is: %w; %s", err, missingAdvice)
	}
	i, err := fromEnv(vars)
	if err != nil {
		return Instance{}, fmt.Errorf("who this node is: %s: %w", path, err)
	}
	return i, nil
}

// fromEnv makes an instance of the variables of instance.env.
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

// Env returns the variables of instance.env again.
func (i Instance) Env() map[string]string {
	return map[string]string{cluster.EnvHostname: i.Node, cluster.EnvRole: string(i.Role), cluster.EnvAddress: i.Address,
		cluster.EnvCluster: i.Cluster, cluster.EnvRegion: i.Region, cluster.EnvUploadsBucket: i.UploadsBucket}
}

// Layout names the cluster's objects in the uploads bucket.
func (i Instance) Layout() cluster.Layout { return cluster.Layout{Cluster: i.Cluster} }

// RegistryPassword is that of the registry's user node. The daemons that talk to it
// can't read [CredentialsFile]: they are not root, and systemd hands it to them.
func RegistryPassword() (string, error) {
	password := os.Getenv(cluster.RedisNodePassword)
	if password == "" {
		return "", fmt.Errorf("%s is missing; infrastructure-ready.service writes /run/xeroops/registry.env, which the unit reads", cluster.RedisNodePassword)
	}
	return password, nil
}

// Config reads the node's settings from the block that boot keeps in
// [EnvironmentFile]. What others have put into that file is not among them.
func Config() (map[string]string, error) {
	text, err := os.ReadFile(EnvironmentFile)
	if err != nil {
		return nil, fmt.Errorf("settings of this node: %w", err)
	}
	_, block, found := cutBlock(string(text))
	if !found {
		return nil, fmt.Errorf("settings of this node: %s holds none; infrastructure-ready.service writes them", EnvironmentFile)
	}
	vars, err := envfile.Parse(block)
	if err != nil {
		return nil, fmt.Errorf("settings of this node: %s: %w", EnvironmentFile, err)
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
