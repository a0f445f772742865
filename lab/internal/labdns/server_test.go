package labdns

import (
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

func TestNames(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	zone := &Zone{
		S3: netip.MustParseAddr("198.18.0.3"), Mirror: netip.MustParseAddr("198.18.0.4"), MirrorNames: []string{"mirror.example"},
		Private: func(name string) (netip.Addr, bool) {
			return netip.MustParseAddr("10.0.2.30"), name == "db1.production.internal"
		},
	}
	go func() { _ = zone.ServeUDP(c) }() // both end with their listeners
	go func() { _ = zone.ServeTCP(l) }()

	for _, test := range []struct {
		name, network string
		kind          uint16
		rcode         int
		address       string
	}{
		{"s3.eu-west-1.amazonaws.com.", "udp", dns.TypeA, dns.RcodeSuccess, "198.18.0.3"},
		{"uploads-1.S3.eu-west-1.amazonaws.com.", "tcp", dns.TypeA, dns.RcodeSuccess, "198.18.0.3"},
		{"s3.eu-west-1.amazonaws.com.", "udp", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"ec2.eu-west-1.amazonaws.com.", "udp", dns.TypeA, dns.RcodeNameError, ""},
		{"mirror.example.", "udp", dns.TypeA, dns.RcodeSuccess, "198.18.0.4"},
		{"ip-10-0-1-10.eu-west-1.compute.internal.", "udp", dns.TypeA, dns.RcodeSuccess, "10.0.1.10"},
		{"db1.production.internal.", "tcp", dns.TypeA, dns.RcodeSuccess, "10.0.2.30"},
		{"db2.production.internal.", "udp", dns.TypeA, dns.RcodeNameError, ""},
		{"example.org.", "udp", dns.TypeA, dns.RcodeNameError, ""},
	} {
		address := map[string]string{"udp": c.LocalAddr().String(), "tcp": l.Addr().String()}[test.network]
		query := new(dns.Msg).SetQuestion(test.name, test.kind)
		answer, _, err := (&dns.Client{Net: test.network}).Exchange(query, address)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := ""
		if len(answer.Answer) == 1 {
			got = answer.Answer[0].(*dns.A).A.String()
		}
		if answer.Rcode != test.rcode || got != test.address {
			t.Errorf("%s: %s %q, want %s %q", test.name, dns.RcodeToString[answer.Rcode], got, dns.RcodeToString[test.rcode], test.address)
		}
	}
}
