package cluster

import (
	"regexp"
	"slices"
	"testing"
)

func TestServiceTableIsWellFormed(t *testing.T) {
	unit := regexp.MustCompile(`^[a-z0-9@-]+\.(service|target)$`)
	names := map[string]bool{}
	for _, s := range Services() {
		if names[s.Name] {
			t.Errorf("service %s stands twice in the table", s.Name)
		}
		names[s.Name] = true
		if !unit.MatchString(s.Unit) {
			t.Errorf("service %s: %q is not a unit name", s.Name, s.Unit)
		}
		for _, r := range s.Roles {
			if _, err := ParseRole(string(r)); err != nil {
				t.Errorf("service %s: %v", s.Name, err)
			}
		}
		for _, p := range s.Ports {
			checkPort(t, s.Name, p)
		}
		if !slices.Contains([]string{"tcp", "http", "unit"}, s.Health.Type) {
			t.Errorf("service %s: health check %q is none of tcp, http, unit", s.Name, s.Health.Type)
		}
	}
}

func checkPort(t *testing.T, service string, p Port) {
	t.Helper()
	if p.Port < 1 || p.Port > 65535 {
		t.Errorf("service %s: port %d is out of range", service, p.Port)
	}
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		t.Errorf("service %s: protocol %q is neither tcp nor udp", service, p.Protocol)
	}
	for _, from := range p.From {
		if from == FromInternet || from == FromVPN {
			continue
		}
		if _, err := ParseRole(from); err != nil {
			t.Errorf("service %s, port %d: %v", service, p.Port, err)
		}
	}
}

func TestNoPortOfARoleIsListedTwice(t *testing.T) {
	for _, role := range Roles() {
		seen := map[int32]string{}
		for _, s := range ServicesOf(role) {
			for _, p := range s.Ports {
				if other, ok := seen[p.Port]; ok {
					t.Errorf("role %s: port %d is both %s's and %s's", role, p.Port, other, s.Name)
				}
				seen[p.Port] = s.Name
			}
		}
	}
}

func TestOnlyTheEdgeAndTheGatewayAreOpenToTheInternet(t *testing.T) {
	for _, s := range Services() {
		for _, p := range s.Ports {
			if !slices.Contains(p.From, FromInternet) {
				continue
			}
			for _, r := range s.Roles {
				if r != RoleLoadBalancer && r != RoleWireGuard {
					t.Errorf("%s opens port %d of %s to the internet", s.Name, p.Port, r)
				}
			}
		}
	}
}
