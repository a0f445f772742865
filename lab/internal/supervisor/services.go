//go:build linux

package supervisor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/xeroops/xeroops/lab/internal/aptproxy"
	"github.com/xeroops/xeroops/lab/internal/baseimage"
	"github.com/xeroops/xeroops/lab/internal/imds"
	"github.com/xeroops/xeroops/lab/internal/labdns"
	"github.com/xeroops/xeroops/lab/internal/s3front"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// serveMachines starts the services that machines reach at fixed addresses.
func (s *Supervisor) serveMachines(ctx context.Context) error {
	if err := errors.Join(s.raiseInotifyLimit(), s.makeFront()); err != nil {
		return err
	}
	issuer := imds.NewIssuer(time.Now)
	if err := s.serveMetadata(ctx, issuer); err != nil {
		return err
	}
	if err := s.serveS3(ctx, issuer); err != nil {
		return err
	}
	mirror, err := s.serveMirror(ctx)
	if err != nil {
		return err
	}
	return s.serveDNS(ctx, mirror)
}

func (s *Supervisor) serveMetadata(ctx context.Context, issuer *imds.Issuer) error {
	l, err := s.listen(ctx, vpcnet.MetadataAddress, 80)
	if err != nil {
		return err
	}
	server := imds.New(s.reconciler.Metadata, issuer, time.Now)
	s.closeLater(l)
	go func() { s.logServerError(server.Serve(l)) }()
	return nil
}

// serveS3 serves S3 with and without TLS, as AWS does: bucket policies may deny
// requests without TLS.
func (s *Supervisor) serveS3(ctx context.Context, issuer *imds.Issuer) error {
	front := &s3front.Front{
		Upstream: s.front, Issuer: issuer, Now: time.Now, Log: s.log.Named("s3"),
		Policies: &s3front.AccountPolicies{IAM: s.iamClient(), S3: s.s3Client(), EndpointPolicy: s.reconciler.EndpointPolicy},
	}
	return s.serveBoth(ctx, vpcnet.S3Address, front, s3front.Names)
}

func (s *Supervisor) serveMirror(ctx context.Context) (host string, err error) {
	url, err := baseimage.MirrorURL(s.layers)
	if err != nil {
		return "", err
	}
	proxy, err := aptproxy.New(ctx, url, filepath.Join(s.config.CacheDir, "apt"), s.log.Named("mirror"))
	if err != nil {
		return "", err
	}
	certified := func(name string) ([]string, bool) { return []string{name}, name == proxy.Host() }
	return proxy.Host(), s.serveBoth(ctx, vpcnet.MirrorAddress, proxy, certified)
}

func (s *Supervisor) serveDNS(ctx context.Context, mirror string) error {
	zone := &labdns.Zone{S3: vpcnet.S3Address, Mirror: vpcnet.MirrorAddress, MirrorNames: []string{mirror}, Private: s.reconciler.Address}
	l, err := s.listen(ctx, vpcnet.DNSAddress, 53)
	if err != nil {
		return err
	}
	c, err := s.network.ListenPacket(ctx, vpcnet.Router, "udp4", netip.AddrPortFrom(vpcnet.DNSAddress, 53).String())
	if err != nil {
		return fmt.Errorf("listen for DNS: %w", err)
	}
	s.closeLater(l, c)
	go func() { s.logServerError(zone.ServeTCP(l)) }()
	go func() { s.logServerError(zone.ServeUDP(c)) }()
	return nil
}

// serveBoth serves HTTP and HTTPS at an address of the router.
func (s *Supervisor) serveBoth(ctx context.Context, address netip.Addr, handler http.Handler, certified func(string) ([]string, bool)) error {
	plain, err := s.listen(ctx, address, 80)
	if err != nil {
		return err
	}
	secure, err := s.listen(ctx, address, 443)
	if err != nil {
		return err
	}
	s.serve(plain, handler)
	s.serve(tls.NewListener(secure, s.ca.TLSConfig(certified)), handler)
	return nil
}

func (s *Supervisor) listen(ctx context.Context, address netip.Addr, port uint16) (net.Listener, error) {
	l, err := s.network.Listen(ctx, vpcnet.Router, "tcp4", netip.AddrPortFrom(address, port).String())
	if err != nil {
		return nil, fmt.Errorf("listen on the lab's %s port %d: %w", address, port, err)
	}
	return l, nil
}
