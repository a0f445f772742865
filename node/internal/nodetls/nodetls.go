// Package nodetls has the files of certificates that boot writes on a node, each readable by
// the service that uses it, and the configuration of TLS clients from them. The files
// are read for each configuration, so that renewed ones are used without a restart.
package nodetls

import (
	"crypto/tls"
	"fmt"
	"os"

	"github.com/xeroops/xeroops/internal/pki"
)

// Files that templates/services/*/config and templates/base/config describe.
const (
	CA              = "/run/xeroops/tls/ca.pem"      // trusted by clients of all services except etcd
	EtcdCA          = "/run/xeroops/tls/etcd-ca.pem" // trusted by etcd and its clients
	EtcdCertificate = "/run/xeroops/tls/etcd.pem"    // of the user etcd
)

// Client returns the configuration of a client that verifies a server against a bundle.
// serverName is a name in the server's certificate; if it is "", the address to which
// the client connects is verified.
func Client(bundle, serverName string) (*tls.Config, error) {
	content, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	trusted, err := pki.ParseBundle(bundle, content)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: trusted.Pool(), ServerName: serverName, MinVersion: tls.VersionTLS13}, nil
}

// MutualClient is [Client] with a certificate.
func MutualClient(bundle, certificate string) (*tls.Config, error) {
	config, err := Client(bundle, "")
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	own, err := pki.ParseCertificate(certificate, content)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{own.TLS()}
	return config, nil
}
