//go:build linux

// Package supervisor implements the background process of a lab. It runs moto behind
// its front, the network with the services that machines use, and the reconciler. All
// that it creates is in run, state and cgroup directories named after the lab, so that
// Clean can remove what a dead supervisor left.
package supervisor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/lab/internal/machine"
)

// Config is the configuration of a lab.
type Config struct {
	Name           string        `json:"name"`
	RunRoot        string        `json:"run_root"`   // parent of all labs' run directories
	StateRoot      string        `json:"state_root"` // parent of all labs' state directories
	CacheDir       string        `json:"cache_dir"`  // base images, Debian packages and certificate authority, kept between labs
	Port           int           `json:"port"`       // loopback port of the AWS API
	Region         string        `json:"region"`
	Mirror         string        `json:"mirror,omitempty"` // URL of a Debian mirror; empty for the host's
	CredentialLife time.Duration `json:"credential_life"`  // lifetime of role credentials
}

// The defaults of a lab. The port is not assigned by IANA.
const (
	DefaultName      = "lab"
	DefaultRunRoot   = "/run/xeroops-lab"
	DefaultStateRoot = "/var/lib/xeroops-lab"
	DefaultCacheDir  = "/var/cache/xeroops-lab"
	DefaultPort      = 4580
	DefaultRegion    = "eu-west-1"
	DefaultLife      = 6 * time.Hour // as on EC2
)

// validName limits the length because socket paths are limited to 107 bytes.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`)

// Complete returns the configuration with defaults filled in, or an error if it is
// invalid.
func (c Config) Complete() (Config, error) {
	c.Name = cmp.Or(c.Name, DefaultName)
	c.RunRoot = cmp.Or(c.RunRoot, DefaultRunRoot)
	c.StateRoot = cmp.Or(c.StateRoot, DefaultStateRoot)
	c.CacheDir = cmp.Or(c.CacheDir, os.Getenv(cluster.EnvLabCache), DefaultCacheDir)
	c.Port = cmp.Or(c.Port, DefaultPort)
	c.Region = cmp.Or(c.Region, DefaultRegion)
	c.CredentialLife = cmp.Or(c.CredentialLife, DefaultLife)
	if !validName.MatchString(c.Name) {
		return c, fmt.Errorf("lab name %q: use at most 20 lower-case letters, digits and dashes", c.Name)
	}
	if len(c.RunDir()) > 40 {
		return c, fmt.Errorf("run directory %s: the path must have at most 40 bytes, because it contains sockets", c.RunDir())
	}
	return c, nil
}

// RunDir returns the directory for sockets, namespaces and logs.
func (c Config) RunDir() string { return filepath.Join(c.RunRoot, c.Name) }

// StateDir returns the directory for disks, volumes and captured images.
func (c Config) StateDir() string { return filepath.Join(c.StateRoot, c.Name) }

// LogFile returns the path of the supervisor's log. It is outside of RunDir, so that
// it is still there after the lab has failed.
func (c Config) LogFile() string { return filepath.Join(c.RunRoot, c.Name+".log") }

func (c Config) socket() string  { return filepath.Join(c.RunDir(), "control.sock") }
func (c Config) lock() string    { return filepath.Join(c.RunRoot, c.Name+".lock") }
func (c Config) volumes() string { return filepath.Join(c.StateDir(), "volumes") }
func (c Config) images() string  { return filepath.Join(c.StateDir(), "images") }

// NetworkDir returns the directory of the lab's network namespaces.
func (c Config) NetworkDir() string { return c.RunDir() }

// Kind returns the machine kind of the lab.
func (c Config) Kind() *machine.Container {
	return &machine.Container{
		RunDir: c.RunDir(), StateDir: c.StateDir(), CgroupName: "xeroops-lab-" + c.Name,
	}
}

// Environment returns the environment variables that make AWS clients use the lab.
func (c Config) Environment() []string {
	return []string{
		fmt.Sprintf("AWS_ENDPOINT_URL=http://127.0.0.1:%d", c.Port),
		"AWS_ACCESS_KEY_ID=lab", "AWS_SECRET_ACCESS_KEY=lab",
		"AWS_REGION=" + c.Region, "AWS_DEFAULT_REGION=" + c.Region,
		// Keeps clients from looking for a metadata service on the host's network.
		"AWS_EC2_METADATA_DISABLED=true",
	}
}
