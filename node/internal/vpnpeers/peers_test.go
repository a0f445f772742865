package vpnpeers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/go-hclog"

	"github.com/xeroops/xeroops/internal/cluster"
	"github.com/xeroops/xeroops/node/internal/s3test"
)

var (
	vpn    = netip.MustParsePrefix("10.100.0.0/16")
	layout = cluster.Layout{Cluster: "production"}
)

func key(n byte) string {
	return base64.StdEncoding.EncodeToString(append(make([]byte, 31), n))
}

func peer(name string, n byte, address string) cluster.VPNPeer {
	return cluster.VPNPeer{Schema: cluster.VPNPeerSchema, Name: name, PublicKey: key(n), Address: address}
}

func TestOnlyInvalidPeersAreIgnored(t *testing.T) {
	good := peer("laptop", 1, "10.100.0.2")
	for name, bad := range map[string]cluster.VPNPeer{
		"schema is 2":               {Schema: 2, Name: "z", PublicKey: key(2), Address: "10.100.0.3"},
		"not 32 bytes":              {Schema: 1, Name: "z", PublicKey: "c2hvcnQ=", Address: "10.100.0.3"},
		"is not in":                 peer("z", 2, "10.0.2.30"),
		"is used by the gateway":    peer("z", 2, "10.100.0.1"),
		"is used by laptop":         peer("z", 2, "10.100.0.2"),
		"is used by another peer":   peer("z", 1, "10.100.0.3"),
		"belongs to another object": peer("y", 2, "10.100.0.3"),
	} {
		t.Run(name, func(t *testing.T) {
			objects := map[string]cluster.VPNPeer{layout.VPNPeer("laptop"): good, layout.VPNPeer("z"): bad}
			peers, invalid := usable(objects, vpn, layout)
			if !reflect.DeepEqual(peers, map[string]netip.Addr{key(1): netip.MustParseAddr("10.100.0.2")}) {
				t.Errorf("peers are %v", peers)
			}
			if len(invalid) != 1 || !strings.Contains(invalid[0].Error(), layout.VPNPeer("z")) || !strings.Contains(invalid[0].Error(), name) {
				t.Errorf("invalid objects are %v, want %q", invalid, name)
			}
		})
	}
}

// device simulates wg(8). The real one needs a network device, which the lab's test has.
type device map[string]string

func (d device) wg(_ context.Context, args ...string) (string, error) {
	var out strings.Builder
	switch args[0] {
	case "show":
		for key, allowed := range d {
			_, _ = fmt.Fprintf(&out, "%s\t%s\n", key, allowed)
		}
	case "set":
		for _, p := range splitPeers(args[2:]) {
			if p[2] == "remove" {
				delete(d, p[1])
			} else {
				d[p[1]] = p[3]
			}
		}
	}
	return out.String(), nil
}

func TestInterfaceFollowsTheObjects(t *testing.T) {
	client := s3test.Client(s3test.Start(t))
	put := func(name string, content any) {
		t.Helper()
		body, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(s3test.Bucket), Key: aws.String(layout.VPNPeer(name)), Body: strings.NewReader(string(body))})
		if err != nil {
			t.Fatal(err)
		}
	}
	d := device{key(9): "(none)"} // a former peer
	g := gateway{source: &source{S3: client, Bucket: s3test.Bucket, Layout: layout}, layout: layout, log: hclog.NewNullLogger(),
		vpn: func() (netip.Prefix, error) { return vpn, nil }, wg: d.wg}
	want := func(what string, want device) {
		t.Helper()
		if err := g.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d, want) {
			t.Errorf("%s: the interface has %v, want %v", what, d, want)
		}
	}
	want("no peer", device{})
	put("laptop", peer("laptop", 1, "10.100.0.2"))
	put("broken", "no peer")
	want("one peer", device{key(1): "10.100.0.2/32"})
	put("phone", peer("phone", 2, "10.100.0.3"))
	put("laptop", peer("laptop", 1, "10.100.0.4"))
	want("two peers, the first with another address", device{key(1): "10.100.0.4/32", key(2): "10.100.0.3/32"})
	clear(d)
	want("after the interface was recreated", device{key(1): "10.100.0.4/32", key(2): "10.100.0.3/32"})
	if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(s3test.Bucket), Key: aws.String(layout.VPNPeer("laptop"))}); err != nil {
		t.Fatal(err)
	}
	want("without the first peer", device{key(2): "10.100.0.3/32"})
}

func TestPeersAreKeptWhileS3IsUnavailable(t *testing.T) {
	nowhere := "http://127.0.0.1:9"
	client := s3.New(s3.Options{BaseEndpoint: &nowhere, Region: "us-east-1", RetryMaxAttempts: 1, Credentials: aws.AnonymousCredentials{}})
	d := device{key(1): "10.100.0.2/32"}
	g := gateway{source: &source{S3: client, Bucket: s3test.Bucket, Layout: layout}, layout: layout, log: hclog.NewNullLogger(),
		vpn: func() (netip.Prefix, error) { return vpn, nil }, wg: d.wg}
	if err := g.sync(t.Context()); err == nil || len(d) != 1 {
		t.Errorf("sync() = %v, and the interface has %v; want an error and the peer", err, d)
	}
}
