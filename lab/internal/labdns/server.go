// Package labdns is the name server of the lab's machines. It resolves names of S3, of
// the Debian mirror and private names of instances. It answers NXDOMAIN for all other
// names at once, because a query that times out costs a machine seconds, and forwards
// no queries.
package labdns

import (
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/miekg/dns"
)

// ttlSeconds is the TTL that Route 53 Resolver returns for instance names.
const ttlSeconds = 60

var (
	s3Name       = regexp.MustCompile(`^(.+\.)?s3([.-][a-z]{2}(-[a-z]+)+-\d)?\.amazonaws\.com\.$`)
	instanceName = regexp.MustCompile(`^ip-(\d+-\d+-\d+-\d+)\.([a-z0-9-]+\.compute|ec2)\.internal\.$`)
)

// Zone holds the names that the server resolves.
type Zone struct {
	S3     netip.Addr
	Mirror netip.Addr
	// MirrorNames are the host names in the machines' apt sources.
	MirrorNames []string
	// Private resolves a private name without its trailing dot, such as
	// db1.production.internal.
	Private func(name string) (netip.Addr, bool)
}

// ServeUDP answers datagrams until the connection is closed.
func (z *Zone) ServeUDP(c net.PacketConn) error {
	return (&dns.Server{PacketConn: c, Handler: z}).ActivateAndServe()
}

// ServeTCP answers on a listener until it is closed.
func (z *Zone) ServeTCP(l net.Listener) error {
	return (&dns.Server{Listener: l, Handler: z}).ActivateAndServe()
}

// ServeDNS answers one query.
func (z *Zone) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(query)
	answer.Authoritative = true
	answer.RecursionAvailable = true
	if len(query.Question) != 1 {
		answer.Rcode = dns.RcodeFormatError
	} else {
		z.fill(answer, query.Question[0])
	}
	_ = w.WriteMsg(answer) // fails if the client has gone
}

// fill adds the address of a name to the answer, or NXDOMAIN if the name is unknown.
// A known name without an address of the requested type has an empty answer.
func (z *Zone) fill(answer *dns.Msg, question dns.Question) {
	address, ok := z.resolve(strings.ToLower(question.Name))
	switch {
	case !ok:
		answer.Rcode = dns.RcodeNameError
	case question.Qtype == dns.TypeA:
		answer.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttlSeconds},
			A:   address.AsSlice(),
		}}
	}
}

func (z *Zone) resolve(name string) (netip.Addr, bool) {
	if s3Name.MatchString(name) {
		return z.S3, true
	}
	if match := instanceName.FindStringSubmatch(name); match != nil {
		address, err := netip.ParseAddr(strings.ReplaceAll(match[1], "-", "."))
		return address, err == nil
	}
	bare := strings.TrimSuffix(name, ".")
	for _, mirror := range z.MirrorNames {
		if strings.EqualFold(mirror, bare) {
			return z.Mirror, true
		}
	}
	return z.Private(bare)
}
