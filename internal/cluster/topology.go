package cluster

// Topology is the content of topology.json: who is in the cluster right now.
type Topology struct {
	Schema  int            `json:"schema"` // TopologySchema
	Cluster string         `json:"cluster"`
	VPN     VPN            `json:"vpn"`
	Nodes   []TopologyNode `json:"nodes"` // by name
}

// VPN is what a peer has to know of the cluster's gateway.
type VPN struct {
	CIDR      string `json:"cidr"`               // addresses of peers
	Endpoint  string `json:"endpoint,omitempty"` // host:port; empty without a gateway that has an EIP
	PublicKey string `json:"public_key,omitempty"`
	// Routes are the ranges that a peer reaches through the gateway: the VPC's.
	Routes []string `json:"routes,omitempty"`
}

// TopologySchema is the version of [Topology] that this code writes.
const TopologySchema = 1

// TopologyNode is a node of a topology.
type TopologyNode struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Address string `json:"address"` // private IPv4
}

// VPNPeer is the content of a peer's object: who may connect to the gateway,
// and under which address. It never holds a private key.
type VPNPeer struct {
	Schema    int    `json:"schema"` // VPNPeerSchema
	Name      string `json:"name"`
	PublicKey string `json:"public_key"` // base64, 32 bytes
	Address   string `json:"address"`    // IPv4 within the VPN range
}

// VPNAddresses is which peer holds which address of the VPN range. It is only
// ever changed by a conditional put against the version that was read, so two
// who allocate at the same time never give out one address twice; the gateway
// does not read it.
type VPNAddresses struct {
	Schema int               `json:"schema"` // VPNAddressesSchema
	Peers  map[string]string `json:"peers"`  // IPv4 address by name of the peer
}

// VPNAddressesSchema is the version of [VPNAddresses] that this code writes.
const VPNAddressesSchema = 1

// VPNPeerSchema is the version of [VPNPeer] that this code writes.
const VPNPeerSchema = 1
