// Package imdstest provides tests with a metadata service, version 2 only, that has the
// identity and the role's credentials of one instance.
package imdstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// Service is a running metadata service.
type Service struct {
	Region, Address string
	// Away makes the service answer 503, as EC2's may early in a boot, and Refused counts
	// those answers.
	Away    atomic.Bool
	Refused atomic.Int32
	// AccessKey is the access key id of the role's credentials.
	AccessKey atomic.Pointer[string]
	// Tokens counts requests for a token, Unprotected those without one.
	Tokens, Unprotected atomic.Int32

	server *httptest.Server
}

// The identity of the instance.
const (
	InstanceID = "i-0123456789abcdef0"
	ImageID    = "ami-0123456789abcdef0"
)

const token = "the-token"

// Start starts a service that runs until the test ends.
func Start(t *testing.T) *Service {
	s := &Service{Region: "eu-west-1", Address: "10.0.2.10"}
	key := "AKIAIOSFODNN7EXAMPLE"
	s.AccessKey.Store(&key)
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

// Endpoint is an option of instance.Metadata that selects the service.
func (s *Service) Endpoint(o *imds.Options) { o.Endpoint = s.server.URL }

// ServeHTTP implements [http.Handler].
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.Away.Load():
		s.Refused.Add(1)
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		s.Tokens.Add(1)
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = fmt.Fprint(w, token)
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
		s.Unprotected.Add(1)
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	default:
		s.get(w, r)
	}
}

func (s *Service) get(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/latest/dynamic/instance-identity/document":
		answer(w, map[string]any{"instanceId": InstanceID, "imageId": ImageID, "region": s.Region, "privateIp": s.Address, "accountId": "123456789012"})
	case "/latest/meta-data/iam/security-credentials/":
		_, _ = fmt.Fprint(w, "role")
	case "/latest/meta-data/iam/security-credentials/role":
		answer(w, map[string]any{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": *s.AccessKey.Load(), "SecretAccessKey": "secret", "Token": "session",
			"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
