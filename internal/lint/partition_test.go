package lint

import (
	"regexp"
	"strings"
	"testing"
)

var (
	// partitionBound matches ARNs and host names of the partition aws alone.
	partitionBound = regexp.MustCompile(`arn:aws:|amazonaws\.com`)
	// inEveryPartition are host names and service principals that are the same in all
	// partitions, and ARNs of AWS's sample account, which show a format.
	inEveryPartition = regexp.MustCompile(`checkip\.amazonaws\.com|(?:delivery\.logs|logging\.s3|dlm|spot|ec2-instance-connect)\.amazonaws\.com|ec2\.amazonaws\.com/doc/|arn:aws:[a-z0-9-]+:[a-z0-9-]*:123456789012:`)
)

// outsidePartitions are the pathspecs of what is of one partition: the stand-in for
// AWS, which is in the partition aws, the tests, the function with the suffixes, and the
// guide that names them.
var outsidePartitions = []string{":!lab", ":!internal/fakeaws", ":!internal/testkit", ":!*_test.go", ":!internal/awsclient/partition.go", ":!docs/guides/aws.md", ":!templates/docs/guides/aws.md", ":!CHANGELOG.md"}

// ofOnePartition returns what is hard-coded in a line and does not exist in AWS GovCloud
// or the China regions, or "".
func ofOnePartition(line string) string {
	return partitionBound.FindString(inEveryPartition.ReplaceAllString(line, ""))
}

func TestNoPartitionIsHardCoded(t *testing.T) {
	for _, path := range source(t, append(outsidePartitions, written...)...) {
		number := 0
		for line := range strings.Lines(read(t, path)) {
			number++
			if found := ofOnePartition(line); found != "" {
				t.Errorf(`%s:%d: %q exists in the partition aws only; use awsclient.Client.Partition and awsclient.DNSSuffix, or in HCL the data source aws_partition`, path, number, found)
			}
		}
	}
}

func TestOfOnePartition(t *testing.T) {
	for line, want := range map[string]string{
		`"arn:aws:s3:::" + bucket`:                       "arn:aws:",
		`"arn:" + partition + ":s3:::" + bucket`:         "",
		`"s3." + region + ".amazonaws.com"`:              "amazonaws.com",
		`such as arn:aws:iam::123456789012:policy/x`:     "",
		`see https://checkip.amazonaws.com, arn:aws:iam`: "arn:aws:",
		`"arn:aws-cn:s3:::bucket"`:                       "",
	} {
		if got := ofOnePartition(line); got != want {
			t.Errorf("%s: found %q, want %q", line, got, want)
		}
	}
}
