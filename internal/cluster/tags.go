package cluster

// Tags by which the provider, the Packer plugin, the lab and the AWS stand-in
// identify resources.
const (
	TagName    = "xeroops:name"           // name of the resource, by which the next apply adopts what an interrupted one left
	TagCluster = "xeroops:cluster"        // name of the cluster
	TagNode    = "xeroops:node"           // name of the node
	TagRole    = "xeroops:role"           // role of a node or an image
	TagVersion = "xeroops:version"        // XeroOps version of an image
	TagContent = "xeroops:content-sha256" // hash of an image's inputs
)
