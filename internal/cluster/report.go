package cluster

import "time"

// BootState is the state of a node's boot.
type BootState string

// The states of a boot. A node whose boot failed retries, and can still become
// ready.
const (
	BootBooting BootState = "booting"
	BootReady   BootState = "ready"
	BootFailed  BootState = "failed"
)

// BootReport is the content of a node's report object (docs/design.md#boot-report).
// The node writes it when its state changes, and `terraform apply` waits for it.
type BootReport struct {
	Schema     int             `json:"schema"` // BootReportSchema
	Cluster    string          `json:"cluster"`
	Node       string          `json:"node"`
	Role       Role            `json:"role"`
	InstanceID string          `json:"instance_id"`
	ImageID    string          `json:"image_id"`
	BootID     string          `json:"boot_id"` // the kernel's; changes at each boot
	State      BootState       `json:"state"`
	StartedAt  time.Time       `json:"started_at"`
	ReadyAt    *time.Time      `json:"ready_at,omitempty"`
	Services   []ServiceReport `json:"services"`
	// Certificates are those that the node uses, by authority ("nodes" and "etcd").
	Certificates map[string]CertificateReport `json:"certificates,omitempty"`
	Error        string                       `json:"error,omitempty"` // why State is failed, or why the node is not ready yet
}

// BootReportSchema is the version of [BootReport] that this code writes.
const BootReportSchema = 1

// ServiceReport is the state of one of the node's services.
type ServiceReport struct {
	Name   string `json:"name"`
	State  string `json:"state"` // systemd's ActiveState
	Detail string `json:"detail,omitempty"`
}

// CertificatesService is the name of the entry among a report's services that has the
// certificates that end soon.
const CertificatesService = "certificates"

// CertificateReport is the certificate of an authority that a node uses.
type CertificateReport struct {
	ExpiresAt time.Time `json:"expires_at"`
	Authority string    `json:"authority"` // generation that issued it
	Trusted   []string  `json:"trusted"`   // generations that the node trusts
}
