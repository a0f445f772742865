package awsclient

// Partitions of AWS. They share no accounts, ARNs or images.
const (
	PartitionAWS   = "aws"
	PartitionChina = "aws-cn"
)

// DNSSuffix returns the domain of a partition's endpoints, and of the service
// principals that have one of their own in China, such as EC2's.
func DNSSuffix(partition string) string {
	if partition == PartitionChina {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}
