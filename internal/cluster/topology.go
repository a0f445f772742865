package cluster

// Topology is the content of topology.json: the current nodes of the cluster.
type Topology struct {
	Schema  int            `json:"schema"` // TopologySchema
	Cluster string         `json:"cluster"`
	VPN     VPN            `json:"vpn"`
	Nodes   []TopologyNode `json:"nodes"` // by name
}

// VPN is what a peer needs to connect to the cluster's gateway.
type VPN struct {
	CIDR      string `json:"cidr"`               // range of the peers' addresses
	Endpoint  string `json:"endpoint,omitempty"` // host:port; empty unless a gateway has an EIP
	PublicKey string `json:"public_key,omitempty"`
	// Routes are the ranges that a peer reaches through the gateway: those of the
	// VPC.
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

// VPNPeer is the content of a peer's object: its public key and address. It never
// contains a private key.
type VPNPeer struct {
	Schema    int    `json:"schema"` // VPNPeerSchema
	Name      string `json:"name"`
	PublicKey string `json:"public_key"` // base64, 32 bytes
	Address   string `json:"address"`    // IPv4 within the VPN range
	// Claim is the provider's mark of the state entry that has the peer (docs/decisions/0023).
	Claim string `json:"claim,omitempty"`
}

// VPNAddresses is the table of allocated VPN addresses. It is only changed by a
// conditional put against the version that was read, so that concurrent allocations
// never return the same address twice. The gateway does not read it.
type VPNAddresses struct {
	Schema int               `json:"schema"` // VPNAddressesSchema
	Peers  map[string]string `json:"peers"`  // IPv4 address by name of the peer
}

// VPNAddressesSchema is the version of [VPNAddresses] that this code writes.
const VPNAddressesSchema = 1

// VPNPeerSchema is the version of [VPNPeer] that this code writes.
const VPNPeerSchema = 1
