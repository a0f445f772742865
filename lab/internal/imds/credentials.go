package imds

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"
)

// renewBefore is how long before their expiry EC2 makes new credentials
// available ("at least five minutes before").
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

// Issuer hands out role credentials and knows them again when they come back
// with a request.
type Issuer struct {
	now func() time.Time

	mu      sync.Mutex
	current map[string]Credentials // by instance and role
	issued  map[string]Credentials // by access key id, until they expire
}

// NewIssuer returns an issuer that reads the time from now.
func NewIssuer(now func() time.Time) *Issuer {
	return &Issuer{now: now, current: map[string]Credentials{}, issued: map[string]Credentials{}}
}

// Issue returns the credentials of an instance's role: the same ones until five
// minutes before they expire (or half their life, if that is shorter).
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

// Lookup returns the credentials with that access key id, expired ones too for
// as long as they are remembered.
func (i *Issuer) Lookup(accessKeyID string) (Credentials, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.issued[accessKeyID]
	return c, ok
}
