// Package imds is the instance metadata service of the lab's machines: IMDSv1 and
// IMDSv2 as each instance's options allow, with session tokens, hop limit, user data,
// the identity document and role credentials. It identifies a machine by the source
// address of the request, which the lab's network does not let a machine spoof.
package imds

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTokenTTL    = 21600 // seconds, EC2's limit
	defaultTTL     = 64    // IP TTL, Linux's default
)

// Server is the metadata service.
type Server struct {
	lookup func(netip.Addr) (Instance, bool)
	issuer *Issuer
	now    func() time.Time

	mu     sync.Mutex
	tokens map[string]token
}

type token struct {
	instanceID string
	expires    time.Time
}

// New returns a Server. lookup returns the instance with the given private address.
func New(lookup func(netip.Addr) (Instance, bool), issuer *Issuer, now func() time.Time) *Server {
	return &Server{lookup: lookup, issuer: issuer, now: now, tokens: map[string]token{}}
}

type connKey struct{}

// Serve serves requests on a listener until it is closed.
func (s *Server) Serve(l net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	return server.Serve(l)
}

// ServeHTTP handles a metadata request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	instance, ok := s.lookup(peer.Addr().Unmap())
	if !ok {
		http.Error(w, "Not Found", http.StatusNotFound)
		return
	}
	path, versioned := pathOf(r.URL.Path)
	switch {
	case instance.Options.Disabled:
		http.Error(w, "Forbidden", http.StatusForbidden)
	case r.Method == http.MethodPut && path == "api/token":
		s.putToken(w, r, instance)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case !s.authorized(r, instance):
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	case !versioned:
		fmt.Fprint(w, "latest")
	default:
		setIPTTL(r, defaultTTL)
		s.get(w, instance, path)
	}
}

// pathOf removes the version, which is latest or a date, from a path.
func pathOf(path string) (rest string, versioned bool) {
	version, rest, _ := strings.Cut(strings.Trim(path, "/"), "/")
	return rest, version != ""
}

// putToken creates a session token. Like EC2, it rejects forwarded requests, and sends
// the response with the instance's hop limit as its IP TTL.
func (s *Server) putToken(w http.ResponseWriter, r *http.Request, instance Instance) {
	if r.Header.Get("X-Forwarded-For") != "" {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTLHeader))
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		http.Error(w, "Bad Request", http.StatusBadRequest)
		return
	}
	setIPTTL(r, max(instance.Options.TokenHopLimit, 1))
	value := rand.Text() + rand.Text() + "=="
	s.mu.Lock()
	for key, t := range s.tokens {
		if s.now().After(t.expires) {
			delete(s.tokens, key)
		}
	}
	s.tokens[value] = token{instance.ID, s.now().Add(time.Duration(ttl) * time.Second)}
	s.mu.Unlock()
	w.Header().Set(tokenTTLHeader, strconv.Itoa(ttl))
	fmt.Fprint(w, value)
}

func (s *Server) authorized(r *http.Request, instance Instance) bool {
	value := r.Header.Get(tokenHeader)
	if value == "" {
		return !instance.Options.TokenRequired
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[value]
	return ok && t.instanceID == instance.ID && s.now().Before(t.expires)
}

func (s *Server) get(w http.ResponseWriter, instance Instance, path string) {
	if body, ok := s.credentials(instance, path); ok {
		fmt.Fprint(w, body)
		return
	}
	tree := instance.tree()
	if instance.ProfileARN != "" {
		tree["meta-data/iam/info"] = s.profile(instance)
	}
	if instance.RoleARN != "" {
		tree["meta-data/iam/security-credentials/"+instance.roleName()] = ""
	}
	if value, ok := tree[path]; ok {
		fmt.Fprint(w, value)
		return
	}
	if names, ok := instance.listing(tree, path); ok {
		fmt.Fprint(w, names)
		return
	}
	http.Error(w, "Not Found", http.StatusNotFound)
}

func (s *Server) profile(instance Instance) string {
	return toJSON(map[string]string{
		"Code": "Success", "LastUpdated": s.now().UTC().Format(time.RFC3339),
		"InstanceProfileArn": instance.ProfileARN, "InstanceProfileId": "AIPA" + strings.ToUpper(instance.ID[2:]),
	})
}

// credentials returns the value of a path below iam/security-credentials. It reports
// false unless the path is that of the instance's role.
func (s *Server) credentials(instance Instance, path string) (string, bool) {
	if instance.RoleARN == "" || path != "meta-data/iam/security-credentials/"+instance.roleName() {
		return "", false
	}
	c := s.issuer.Issue(instance.ID, instance.RoleARN, instance.Options.CredentialLife)
	return toJSON(map[string]string{
		"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": c.Issued.UTC().Format(time.RFC3339),
		"AccessKeyId": c.AccessKeyID, "SecretAccessKey": c.SecretAccessKey, "Token": c.SessionToken,
		"Expiration": c.Expires.UTC().Format(time.RFC3339),
	}), true
}

func toJSON(fields map[string]string) string {
	b, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("marshal strings: %v", err)) // strings always marshal
	}
	return string(b)
}

// setIPTTL sets the IP TTL of the response's packets. It does nothing on connections
// other than TCP, which occur in tests only.
func setIPTTL(r *http.Request, hops int) {
	conn, ok := r.Context().Value(connKey{}).(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	// The option fails on a closed socket only, whose response is lost anyway.
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hops) })
}
