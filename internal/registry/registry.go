// Package registry defines the content of the registry, the Redis on the management
// node (docs/design.md#registry): keys, channels and values. Nodes write heartbeats
// and progress; routing and the CLI read them.
package registry

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/bundle"
	"github.com/xeroops/xeroops/internal/cluster"
)

// Channels.
const (
	// TopologyChannel receives the name of each node whose entry changed.
	TopologyChannel = "xeroops:topology"
	// DeploymentChannel receives a [Deployment] for each version that is published.
	// The message is only a hint; the desired version is authoritative.
	DeploymentChannel = "deployment-channel"
)

// Users of the registry. Each kind of client has its own.
const (
	UserNode   = "node"   // heartbeats, progress of deployments
	UserApp    = "app"    // applications: keys and channels that begin with app:
	UserDeploy = "deploy" // operators: desired versions
	UserStatus = "status" // operators: reads what xeroops status shows
	UserAdmin  = "admin"  // everything
)

// Heartbeat is the interval at which a node writes its entry. Expiry is the
// lifetime of an entry.
const (
	Heartbeat = 30 * time.Second
	Expiry    = 90 * time.Second
)

// NodeKey returns the key of a node's entry, a [Node] with an expiry.
func NodeKey(node string) string { return "xeroops:node:" + node }

// desiredPrefix is the prefix of the keys of desired versions and progress.
const desiredPrefix = "xeroops:deploy:"

// DesiredKey returns the key of an application's desired version, a hash with the
// fields of [Desired].
func DesiredKey(application string) string { return desiredPrefix + application }

// ProgressKey returns the key of a version's progress, a hash of [Progress] by
// node.
func ProgressKey(application, version string) string {
	return desiredPrefix + application + ":" + version
}

// ApplicationsKey is the key of the set of all applications that have a desired
// version.
const ApplicationsKey = "xeroops:applications"

// PythonKey returns the key of what an app node's image offers to applications, a
// [Python].
func PythonKey(node string) string { return "xeroops:python:" + node }

// Schema is the version of the format that this code writes.
const Schema = 1

// Node is a node's entry, which the node itself writes.
type Node struct {
	Schema       int             `json:"schema"`
	Name         string          `json:"name"`
	Role         cluster.Role    `json:"role"`
	Address      string          `json:"address"`
	InstanceID   string          `json:"instance_id"`
	BootID       string          `json:"boot_id"`
	State        NodeState       `json:"state"`
	Services     []ServiceHealth `json:"services"`
	Applications []Application   `json:"applications,omitempty"`
	Resources    Resources       `json:"resources"`
	// Versions are the versions of the image and of running programs, by name.
	Versions  map[string]string `json:"versions,omitempty"`
	UpdatedAt time.Time         `json:"updated_at"` // by the node's clock: for display only
}

// NodeState is the state of a node, which decides whether it gets traffic.
type NodeState string

// The states of a node.
const (
	NodeReady    NodeState = "ready"
	NodeDegraded NodeState = "degraded" // a service is not healthy
	NodeDraining NodeState = "draining" // serves open requests, gets no new ones
)

// ServiceHealth is the result of a node's own health check of a service.
type ServiceHealth struct {
	Name    string `json:"name"`
	State   string `json:"state"` // systemd's ActiveState
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail,omitempty"` // reason if not healthy; for PostgreSQL: primary or replica
}

// Resources are the size and utilization of a node.
type Resources struct {
	CPUs                   int     `json:"cpus"`
	Load1                  float64 `json:"load1"`
	MemoryBytes            uint64  `json:"memory_bytes"`
	MemoryAvailableBytes   uint64  `json:"memory_available_bytes"`
	DiskBytes              uint64  `json:"disk_bytes"`
	DiskAvailableBytes     uint64  `json:"disk_available_bytes"`
	DataDiskBytes          uint64  `json:"data_disk_bytes,omitempty"` // of the EBS volume
	DataDiskAvailableBytes uint64  `json:"data_disk_available_bytes,omitempty"`
	UptimeSeconds          uint64  `json:"uptime_seconds"`
	ClockSynced            bool    `json:"clock_synced"`
	FailedUnits            int     `json:"failed_units"`
}

// Application is an application that a node runs and that may get traffic.
type Application struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Port        int    `json:"port"`
	RoutePrefix string `json:"route_prefix"` // begins with /api/
	HealthPath  string `json:"health_path"`
	bundle.HealthRequest
	Timeout int      `json:"timeout,omitempty"` // seconds, 0 is the default
	State   AppState `json:"state"`
}

// AppState is the state of an application on one node.
type AppState string

// The states of an application on a node.
const (
	AppRunning AppState = "running"
	AppFailed  AppState = "failed"
)

// Deployment is a message on [DeploymentChannel].
type Deployment struct {
	Service string `json:"service"` // the application
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // of bundle.json, hexadecimal
}

// Desired is the desired version of an application on all app nodes.
type Desired struct {
	Version     string `redis:"version"`
	SHA256      string `redis:"sha256"` // of bundle.json, hexadecimal
	Previous    string `redis:"previous"`
	PublishedAt string `redis:"published_at"` // RFC 3339
	PublishedBy string `redis:"published_by"`
}

// Progress is the progress of a deployment on a node.
type Progress struct {
	Node      string    `json:"node"`
	Phase     Phase     `json:"phase"`
	Error     string    `json:"error,omitempty"`
	Running   string    `json:"running,omitempty"` // version that serves requests
	ElapsedMS int64     `json:"elapsed_ms"`        // since the node started the deployment
	UpdatedAt time.Time `json:"updated_at"`
}

// Phase is a step of a deployment on a node.
type Phase string

// The phases, in order. The last two are final.
const (
	PhaseDownloading Phase = "downloading"
	PhaseInstalling  Phase = "installing"
	PhaseTrying      Phase = "trying" // trial run beside the running version
	PhaseSwitching   Phase = "switching"
	PhaseHealthy     Phase = "healthy"
	PhaseFailed      Phase = "failed" // the previous version keeps running
)

// Ended reports whether the phase is final.
func (p Phase) Ended() bool { return p == PhaseHealthy || p == PhaseFailed }

// Port is the registry's TCP port on the management node.
const Port = "6379"

// Open returns a client of the Redis at address (host:port) for one of its users.
// The client connects at the first command and reconnects after a failure; only the
// context bounds retries of a command.
func Open(address, user, password string) *redis.Client {
	return OpenVia(nil, address, user, password)
}

// Dialer opens a connection to an address (host:port).
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// OpenVia is like [Open], but connects with dial; nil means TCP.
func OpenVia(dial Dialer, address, user, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Dialer: dial,
		Addr:   address, Username: user, Password: password,
		DialTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
		MaxRetries: 2, PoolSize: 4, ContextTimeoutEnabled: true,
		DisableIdentity: true, // these users may not run CLIENT SETINFO
	})
}
