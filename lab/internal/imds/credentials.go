package imds

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"
)

// renewBefore is how long before expiry new credentials are available. EC2 documents
// "at least five minutes".
const renewBefore = 5 * time.Minute

// Credentials are temporary credentials of an instance's role.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	InstanceID      string
	RoleARN         string
	Issued, Expires time.Time
}

// Issuer issues role credentials, and looks up those that requests are signed with.
type Issuer struct {
	now func() time.Time

	mu      sync.Mutex
	current map[string]Credentials // by instance and role
	issued  map[string]Credentials // by access key id, until they expire
}

// NewIssuer returns an Issuer that uses now as its clock.
func NewIssuer(now func() time.Time) *Issuer {
	return &Issuer{now: now, current: map[string]Credentials{}, issued: map[string]Credentials{}}
}

// Issue returns the credentials of an instance's role. They stay the same until five
// minutes, or half their lifetime if that is shorter, before they expire.
func (i *Issuer) Issue(instanceID, roleARN string, life time.Duration) Credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	key := instanceID + " " + roleARN
	if c, ok := i.current[key]; ok && now.Before(c.Expires.Add(-min(renewBefore, life/2))) {
		return c
	}
	for id, c := range i.issued {
		if now.After(c.Expires) {
			delete(i.issued, id)
		}
	}
	c := Credentials{
		AccessKeyID:     "ASIA" + rand.Text()[:16],
		SecretAccessKey: (rand.Text() + rand.Text())[:40],
		SessionToken:    strings.Repeat(rand.Text(), 8),
		InstanceID:      instanceID, RoleARN: roleARN,
		Issued: now, Expires: now.Add(life),
	}
	i.current[key] = c
	i.issued[c.AccessKeyID] = c
	return c
}

// Lookup returns the credentials with the given access key id. Expired ones are
// included for a while.
func (i *Issuer) Lookup(accessKeyID string) (Credentials, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.issued[accessKeyID]
	return c, ok
}
