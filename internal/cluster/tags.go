package cluster

// Tags by which the provider, the Packer plugin, the lab and its stand-in for AWS
// know what something is.
const (
	TagName    = "xeroops:name"           // a resource's: by it an interrupted apply finds its own again
	TagCluster = "xeroops:cluster"        // name of the cluster
	TagNode    = "xeroops:node"           // name of the node
	TagRole    = "xeroops:role"           // role of a node or an image
	TagVersion = "xeroops:version"        // of XeroOps, on an image
	TagContent = "xeroops:content-sha256" // of all that an image was made of
)
