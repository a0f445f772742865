// Package registry is the shape of the registry, the Redis on the management
// node (docs/design.md#registry): its keys, its channels, and what is in them. Nodes
// write heartbeats and progress, routing and the CLI read them.
package registry

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Channels.
const (
	// TopologyChannel has the name of each node whose entry changed.
	TopologyChannel = "xeroops:topology"
	// DeploymentChannel has a [Deployment] for each that is published. It is a
	// hint only: what is to run is the desired version.
	DeploymentChannel = "deployment-channel"
)

// Users of the registry, one per kind of client.
const (
	UserNode   = "node"   // heartbeats, progress of deployments
	UserApp    = "app"    // applications: keys and channels that begin with app:
	UserDeploy = "deploy" // operators: desired versions
	UserAdmin  = "admin"  // everything
)

// Heartbeat is how often a node writes its entry, and Expiry how long one lives
// without being written again.
const (
	Heartbeat = 30 * time.Second
	Expiry    = 90 * time.Second
)

// NodeKey is the key of a node's entry, a [Node] with an expiry.
func NodeKey(node string) string { return "xeroops:node:" + node }

// desiredPrefix begins the keys of desired versions and of progress.
const desiredPrefix = "xeroops:deploy:"

// DesiredKey is the key of an application's desired version, a hash with the
// fields of [Desired].
func DesiredKey(application string) string { return desiredPrefix + application }

// ProgressKey is the key of a deployment's progress, a hash of [Progress] by node.
func ProgressKey(application, version string) string {
	return desiredPrefix + application + ":" + version
}

// ApplicationsKey is a set of the names of all applications that have a desired version.
const ApplicationsKey = "xeroops:applications"

// PythonKey is the key of what an app node's image offers to applications, a
// [Python].
func PythonKey(node string) string { return "xeroops:python:" + node }

// Schema is the version of the shapes that this code writes.
const Schema = 1

// Node is a node's entry: its own word on how it is.
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
	// Versions are those of the image and of what runs, by name.
	Versions  map[string]string `json:"versions,omitempty"`
	UpdatedAt time.Time         `json:"updated_at"` // by the node's clock: shown, never compared
}

// NodeState says whether a node is to get traffic.
type NodeState string

// The states of a node.
const (
	NodeReady    NodeState = "ready"
	NodeDegraded NodeState = "degraded" // a service is not healthy
	NodeDraining NodeState = "draining" // serves what it has, is to get nothing new
)

// ServiceHealth is what a node's own check of one of its services found.
type ServiceHealth struct {
	Name    string `json:"name"`
	State   string `json:"state"` // systemd's ActiveState
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail,omitempty"` // why it is not healthy; PostgreSQL: primary or replica
}

// Resources is how busy a node is.
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

// Application is an application that a node runs and that traffic may go to.
type Application struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	Port        int      `json:"port"`
	RoutePrefix string   `json:"route_prefix"` // begins with /api/
	HealthPath  string   `json:"health_path"`
	State       AppState `json:"state"`
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

// Desired is which version of an application is to run on all app nodes.
type Desired struct {
	Version     string `redis:"version"`
	SHA256      string `redis:"sha256"` // of bundle.json, hexadecimal
	Previous    string `redis:"previous"`
	PublishedAt string `redis:"published_at"` // RFC 3339
	PublishedBy string `redis:"published_by"`
}

// Progress is how far a node is with a version.
type Progress struct {
	Node      string    `json:"node"`
	Phase     Phase     `json:"phase"`
	Error     string    `json:"error,omitempty"`
	Running   string    `json:"running,omitempty"` // version that serves now
	ElapsedMS int64     `json:"elapsed_ms"`        // since the node took it up
	UpdatedAt time.Time `json:"updated_at"`
}

// Phase is a step of a deployment on a node.
type Phase string

// The phases in their order; the last two are ends.
const (
	PhaseDownloading Phase = "downloading"
	PhaseInstalling  Phase = "installing"
	PhaseTrying      Phase = "trying" // beside the running one
	PhaseSwitching   Phase = "switching"
	PhaseHealthy     Phase = "healthy"
	PhaseFailed      Phase = "failed" // the version before runs on
)

// Ended says whether nothing more comes.
func (p Phase) Ended() bool { return p == PhaseHealthy || p == PhaseFailed }

// Port is the registry's on the management node.
const Port = "6379"

// Open returns a client of the Redis at address (host:port) as one of its users.
// It connects at the first command, and again after a failure; nothing but the
// context bounds a command's retries by the caller.
func Open(address, user, password string) *redis.Client {
	return OpenVia(nil, address, user, password)
}

// Dialer makes a connection to an address (host:port).
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// OpenVia is [Open] over connections that dial makes; nil is TCP.
func OpenVia(dial Dialer, address, user, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Dialer: dial,
		Addr:   address, Username: user, Password: password,
		DialTimeout: 2 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
		MaxRetries: 2, PoolSize: 4, ContextTimeoutEnabled: true,
		DisableIdentity: true, // CLIENT SETINFO is no command of these users
	})
}
