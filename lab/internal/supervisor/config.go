//go:build linux

// Package supervisor is the process behind a lab: it runs moto with its front,
// the network, the services that machines find there, and the reconciler. What
// it makes lies in its run, state and cgroup folders alone, all named after the
// lab, so that Clean can remove what a dead supervisor left.
package supervisor

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/xeroops/xeroops/lab/internal/machine"
)

// Config says what a lab is like.
type Config struct {
	Name           string        `json:"name"`
	RunRoot        string        `json:"run_root"`   // folder of all labs' run folders
	StateRoot      string        `json:"state_root"` // folder of all labs' disks
	CacheDir       string        `json:"cache_dir"`  // base images, Debian packages, certificate authority: kept
	Port           int           `json:"port"`       // of the AWS API, on loopback
	Region         string        `json:"region"`
	Mirror         string        `json:"mirror,omitempty"` // Debian mirror; empty is the host's own
	CredentialLife time.Duration `json:"credential_life"`  // of role credentials
}

// The defaults of a lab. The port is one that IANA has assigned to nobody.
const (
	DefaultName      = "lab"
	DefaultRunRoot   = "/run/xeroops-lab"
	DefaultStateRoot = "/var/lib/xeroops-lab"
	DefaultCacheDir  = "/var/cache/xeroops-lab"
	DefaultPort      = 4580
	DefaultRegion    = "eu-west-1"
	DefaultLife      = 6 * time.Hour // EC2's
)

// validName keeps paths of sockets short enough (107 bytes).
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`)

// Complete fills in defaults and checks what was given.
func (c Config) Complete() (Config, error) {
	c.Name = cmp.Or(c.Name, DefaultName)
	c.RunRoot = cmp.Or(c.RunRoot, DefaultRunRoot)
	c.StateRoot = cmp.Or(c.StateRoot, DefaultStateRoot)
	c.CacheDir = cmp.Or(c.CacheDir, os.Getenv("XEROOPS_LAB_CACHE"), DefaultCacheDir)
	c.Port = cmp.Or(c.Port, DefaultPort)
	c.Region = cmp.Or(c.Region, DefaultRegion)
	c.CredentialLife = cmp.Or(c.CredentialLife, DefaultLife)
	if !validName.MatchString(c.Name) {
		return c, fmt.Errorf("lab name %q: use at most 20 lower-case letters, digits and dashes", c.Name)
	}
	if len(c.RunDir()) > 40 {
		return c, fmt.Errorf("run folder %s: its path must have at most 40 bytes, since sockets are made below it", c.RunDir())
	}
	return c, nil
}

// RunDir holds what ends with the lab: sockets, namespaces, logs.
func (c Config) RunDir() string { return filepath.Join(c.RunRoot, c.Name) }

// StateDir holds disks, volumes and captured images, which end with the lab too.
func (c Config) StateDir() string { return filepath.Join(c.StateRoot, c.Name) }

// LogFile is the supervisor's log. It lies outside RunDir, so that it tells what
// happened after the lab's end.
func (c Config) LogFile() string { return filepath.Join(c.RunRoot, c.Name+".log") }

func (c Config) socket() string  { return filepath.Join(c.RunDir(), "control.sock") }
func (c Config) lock() string    { return filepath.Join(c.RunRoot, c.Name+".lock") }
func (c Config) volumes() string { return filepath.Join(c.StateDir(), "volumes") }
func (c Config) images() string  { return filepath.Join(c.StateDir(), "images") }

// NetworkDir is where the lab's namespaces are bound.
func (c Config) NetworkDir() string { return c.RunDir() }

// Kind is how the lab runs machines.
func (c Config) Kind() *machine.Container {
	return &machine.Container{
		RunDir: c.RunDir(), StateDir: c.StateDir(), CgroupName: "xeroops-lab-" + c.Name,
	}
}

// Environment is what makes AWS clients on the host use the lab.
func (c Config) Environment() []string {
	return []string{
		fmt.Sprintf("AWS_ENDPOINT_URL=http://127.0.0.1:%d", c.Port),
		"AWS_ACCESS_KEY_ID=lab", "AWS_SECRET_ACCESS_KEY=lab",
		"AWS_REGION=" + c.Region, "AWS_DEFAULT_REGION=" + c.Region,
		// Without it a client without credentials would ask the host's own network.
		"AWS_EC2_METADATA_DISABLED=true",
	}
}
