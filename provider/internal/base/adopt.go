package base

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/xeroops/xeroops/internal/awsclient"
)

// Creation is the creation of one resource, or the adoption of what an interrupted
// apply left of it.
type Creation struct {
	Kind string
	// Name is the configured name, and Key is one that is unique among all resources of
	// the kind; the same name if it is empty.
	Name, Key string
	// Find returns the existing resource of the name, or nil. It is not called if the
	// plan has just found the name unused.
	Find func(ctx context.Context) (*Found, error)
	// Write sets the claim of an existing resource.
	Write func(ctx context.Context, id, claim string) error
	// Create creates the resource with the claim and returns its id.
	Create func(ctx context.Context, claim Claim) (id string, err error)
}

// AdoptOrCreate adopts or creates a resource, and records its claim in the private
// state. The caller saves the state, and ends with Settle of what is returned.
func (p *ProviderData) AdoptOrCreate(ctx context.Context, c Creation, private PrivateState, diags *diag.Diagnostics) (*Created, error) {
	key := cmp.Or(c.Key, c.Name)
	claim, err := p.Claims.Open(c.Kind, key)
	if err != nil {
		return nil, err
	}
	var found *Found
	if !p.PlanCache.IsVacant(c.Kind, key) {
		if found, err = c.Find(ctx); err != nil {
			return nil, err
		}
	}
	id, err := p.Claims.Adoptable(c.Kind, c.Name, found)
	switch {
	case err != nil:
		return nil, err
	case id != "":
		err = c.Write(ctx, id, claim.String())
	default:
		id, err = c.Create(ctx, claim)
	}
	if err != nil {
		return nil, err
	}
	p.Claims.Record(ctx, c.Kind, id, claim, private, diags)
	return &Created{ID: id, settle: func(ctx context.Context) {
		p.Claims.Settle(ctx, Claimed{Kind: c.Kind, ID: id, Write: func(ctx context.Context, tag string) error { return c.Write(ctx, id, tag) }}, claim)
	}}, nil
}

// Created is a resource that was created or adopted.
type Created struct {
	ID     string
	settle func(context.Context)
}

// Settle is to be called at the end of Create, whether it succeeds or not.
func (c *Created) Settle(ctx context.Context) { c.settle(ctx) }

// settleTimeout is how long the end of a Create may wait for the claim to be written,
// also if its own timeout is over.
const settleTimeout = 10 * time.Second

// Settle marks a resource as held at the end of its creation if there is no owner. Its
// state is going to be written, and another configuration without an owner must not
// adopt it, even if this one is never planned again. With an owner, the claim stays
// open until the state is read, so that a lost state is repaired.
func (c *Claims) Settle(ctx context.Context, r Claimed, claim Claim) {
	if claim.Owner != "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	_ = c.hold(ctx, r, claim.Token) // the next read or update tries again
}

// WriteEC2ClaimOf returns a function that sets the tag of the EC2 resource with an id.
func WriteEC2ClaimOf(client *awsclient.EC2) func(ctx context.Context, id, claim string) error {
	return func(ctx context.Context, id, claim string) error {
		if err := WriteEC2Claim(client, id)(ctx, claim); err != nil {
			return fmt.Errorf("set the claim of %s: %w", id, err)
		}
		return nil
	}
}
