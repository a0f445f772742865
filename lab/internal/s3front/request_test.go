package s3front

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for host, want := range map[string]string{
		"s3.eu-west-1.amazonaws.com":           "s3.eu-west-1.amazonaws.com *.s3.eu-west-1.amazonaws.com",
		"uploads-1.s3.eu-west-1.amazonaws.com": "s3.eu-west-1.amazonaws.com *.s3.eu-west-1.amazonaws.com",
		"uploads-1.s3.amazonaws.com":           "s3.amazonaws.com *.s3.amazonaws.com",
		"ec2.eu-west-1.amazonaws.com":          "",
		"s3.example.org":                       "",
	} {
		names, _ := Names(host)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("Names(%q) = %q, want %q", host, got, want)
		}
	}
}
