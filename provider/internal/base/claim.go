package base

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/xeroops/xeroops/internal/awsclient"
	"github.com/xeroops/xeroops/internal/awswait"
)

// TagClaim is the tag of a resource with its [Claim].
const TagClaim = reservedPrefix + "claim"

// A Claim is the mark of the state entry that a resource belongs to
// (docs/decisions/0023). Its text form is open:OWNER:TOKEN or held:OWNER:TOKEN.
type Claim struct {
	// Held is true once a state with the token has been read back. Until then, the
	// run that created the resource may have ended before it wrote its state.
	Held bool
	// Owner is the provider's setting owner, or empty.
	Owner string
	// Token is random, and kept in the private state of the entry.
	Token string
}

// String returns the value of the tag.
func (c Claim) String() string {
	state := "open"
	if c.Held {
		state = "held"
	}
	return state + ":" + c.Owner + ":" + c.Token
}

// Tag returns the tag of an EC2 resource.
func (c Claim) Tag() ec2types.Tag {
	return ec2types.Tag{Key: aws.String(TagClaim), Value: aws.String(c.String())}
}

// Filter returns the filter for the EC2 resource that a create with the claim made.
func (c Claim) Filter() ec2types.Filter { return Filter("tag:"+TagClaim, c.String()) }

func parseClaim(tag string) (claim Claim, ok bool) {
	state, rest, _ := strings.Cut(tag, ":")
	owner, token, ok := strings.Cut(rest, ":")
	return Claim{Held: state != "open", Owner: owner, Token: token}, ok && token != ""
}

// savedClaim is what a state entry keeps of its claim.
type savedClaim struct {
	Token string `json:"token"`
	// Imported is true until the token is written to the resource, which was imported
	// or is of an earlier version of the provider. That happens only after the state was
	// written, because a plan may be discarded. Until then, the resource has the token
	// Former, or none.
	Imported bool   `json:"imported,omitempty"`
	Former   string `json:"former,omitempty"`
}

// has reports whether token is one that the resource of the entry can have. After an
// import it has the entry's own also if the plan that wrote it was discarded.
func (s savedClaim) has(token string) bool {
	return token == s.Token || s.Imported && token == s.Former
}

const privateClaim = "claim"

// PrivateState is the private state of a resource in a request or response.
type PrivateState interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func loadClaim(ctx context.Context, private PrivateState, diags *diag.Diagnostics) savedClaim {
	var saved savedClaim
	value, d := private.GetKey(ctx, privateClaim)
	diags.Append(d...)
	if len(value) > 0 {
		if err := json.Unmarshal(value, &saved); err != nil {
			diags.AddError("Private state is damaged", err.Error())
		}
	}
	return saved
}

func (s savedClaim) save(ctx context.Context, private PrivateState, diags *diag.Diagnostics) {
	value, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string and a bool
	}
	diags.Append(private.SetKey(ctx, privateClaim, value)...)
}

// Claimed is a resource that exists at AWS and can carry a claim.
type Claimed struct {
	Kind, ID string
	// Tag is the value of TagClaim, or empty.
	Tag string
	// Reread returns the current value of the tag, and whether the resource exists.
	Reread func(ctx context.Context) (tag string, exists bool, err error)
	// Write sets the tag.
	Write func(ctx context.Context, tag string) error
	// OneTagSet is true if Write replaces all tags, those of others too. Then a plan
	// does not call it to mark the resource as held.
	OneTagSet bool
}

func (r Claimed) key() string { return r.Kind + "/" + r.ID }

// WriteEC2Claim returns a function that sets the tag of EC2 resources.
func WriteEC2Claim(client *awsclient.EC2, ids ...string) func(context.Context, string) error {
	return func(ctx context.Context, tag string) error {
		_, err := client.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []ec2types.Tag{{Key: aws.String(TagClaim), Value: &tag}}})
		return err
	}
}

// CompareClaims orders texts of claims: none, open, held, and by token.
func CompareClaims(a, b string) int {
	rank := func(tag string) int {
		claim, ok := parseClaim(tag)
		switch {
		case !ok:
			return 0
		case !claim.Held:
			return 1
		}
		return 2
	}
	return cmp.Or(rank(a)-rank(b), strings.Compare(a, b))
}

// Saved returns the claim of a state entry, without a token if there is none.
func (c *Claims) Saved(ctx context.Context, private PrivateState, diags *diag.Diagnostics) Claim {
	return Claim{Held: true, Owner: c.owner, Token: loadClaim(ctx, private, diags).Token}
}

// EC2Claim returns the value of TagClaim among tags.
func EC2Claim(tags []ec2types.Tag) string { return FlattenEC2Tags(tags)[TagClaim] }

// Claims decide which resources a create may adopt and a delete may delete, from
// their tags and from what this run of Terraform has done so far.
type Claims struct {
	owner string

	mu       sync.Mutex
	reserved map[string]bool   // names of creates
	issued   map[string]string // tokens written by this run, by key
	hasRead  bool              // whether this run has read any resource of a state
	read     map[string]bool   // keys of resources in the state that were read
	prior    map[string]bool   // keys of resources in the state that were planned
	found    map[string]string // names of planned creates that found a resource that was read, by its key
	imported map[string]bool   // ids
}

// NewClaims returns the claims of one run for the provider's setting owner.
func NewClaims(owner string) *Claims {
	return &Claims{owner: owner, reserved: map[string]bool{}, issued: map[string]string{}, read: map[string]bool{},
		prior: map[string]bool{}, found: map[string]string{}, imported: map[string]bool{}}
}

// Open returns the claim for a resource that is about to be created. It is an
// error if this run has created another of that name.
func (c *Claims) Open(kind, name string) (Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reserved[kind+"/"+name] {
		return Claim{}, fmt.Errorf("two resources of this configuration are %s %q; names are unique: rename one of them", kind, name)
	}
	c.reserved[kind+"/"+name] = true
	return Claim{Owner: c.owner, Token: rand.Text()}, nil
}

// Record stores the claim of a resource that was created or adopted.
func (c *Claims) Record(ctx context.Context, kind, id string, claim Claim, private PrivateState, diags *diag.Diagnostics) {
	c.mu.Lock()
	c.issued[kind+"/"+id] = claim.Token
	c.mu.Unlock()
	savedClaim{Token: claim.Token}.save(ctx, private, diags)
}

// noteImport notes which resource an import puts into the state.
func (c *Claims) noteImport(ctx context.Context, resp *resource.ImportStateResponse) {
	var id tftypes.String
	resp.Diagnostics.Append(resp.State.GetAttribute(ctx, path.Root("id"), &id)...)
	c.Import(id.ValueString())
}

// Import notes that this run imports the resource with that id.
func (c *Claims) Import(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.imported[id] = true
}

// conflict returns why a resource that was found by its name cannot be adopted, or
// "".
func (c *Claims) conflict(kind string, f *Found) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := kind + "/" + f.ID
	claim, ok := parseClaim(f.Claim)
	switch {
	case c.issued[key] != "":
		return "another resource of this configuration has just created it"
	case c.prior[key] || c.read[key]:
		return "it is in the state under another address, or is to be replaced before it is deleted"
	case f.Conflict != "":
		return f.Conflict
	case !ok:
		return "nothing shows that an interrupted apply left it"
	case claim.Held:
		return "another resource or configuration manages it"
	case claim.Owner != c.owner:
		return fmt.Sprintf("an apply with owner = %q created it", claim.Owner)
	case f.InUse != "" && c.owner == "":
		return f.InUse
	}
	return ""
}

// Adoptable returns the id of the resource with the name of one that is to be
// created if an interrupted apply left it, "" if there is none, and an error if
// the name is taken.
func (c *Claims) Adoptable(kind, name string, f *Found) (string, error) {
	if f == nil {
		return "", nil
	}
	if why := c.conflict(kind, f); why != "" {
		return "", taken(kind, name, f.ID, why)
	}
	return f.ID, nil
}

// staleTag is how long a changed tag may be missing from EC2's answers. They
// usually lag behind by less than three seconds.
const staleTag = 15 * time.Second

// isStale reports whether another state entry has the resource: its token is another
// one, and stays so. An entry without a token is never stale: one of an earlier version
// of the provider has none, and Terraform passes none to the delete of a replacement.
func (c *Claims) isStale(ctx context.Context, r Claimed, saved savedClaim) (bool, error) {
	c.mu.Lock()
	issued := c.issued[r.key()]
	c.mu.Unlock()
	if issued != "" && saved.Token != "" {
		return !saved.has(issued), nil
	}
	ours := func(tag string) bool {
		claim, ok := parseClaim(tag)
		return !ok || saved.Token == "" || saved.has(claim.Token)
	}
	if ours(r.Tag) {
		return false, nil
	}
	err := awswait.Until(ctx, staleTag, func(ctx context.Context) (bool, string, error) {
		tag, exists, err := r.Reread(ctx)
		return err == nil && (!exists || ours(tag)), "claimed by another state", err
	})
	var late *awswait.TimeoutError
	if errors.As(err, &late) {
		return true, nil
	}
	return false, err
}

// Keep reports whether a state entry still has the resource that Read found. If
// another state took it over, it adds a warning. It marks a resource as held once
// its token has been read back.
func (c *Claims) Keep(ctx context.Context, r Claimed, private PrivateState, diags *diag.Diagnostics) bool {
	saved := loadClaim(ctx, private, diags)
	c.mu.Lock()
	c.hasRead = true
	imported := c.imported[r.ID]
	c.mu.Unlock()
	claim, claimed := parseClaim(r.Tag)
	switch {
	case saved.Token == "" && claimed && !imported:
		// Terraform drops the private state of an entry if the deletion for its replacement fails.
		savedClaim{Token: claim.Token}.save(ctx, private, diags)
	case saved.Token == "":
		savedClaim{Token: rand.Text(), Imported: true, Former: claim.Token}.save(ctx, private, diags)
	case imported:
	default:
		stale, err := c.isStale(ctx, r, saved)
		AddError(diags, "read", r.Kind, r.ID, err)
		if stale {
			diags.AddWarning(fmt.Sprintf("%s %s now belongs to another state", r.Kind, r.ID),
				"Another configuration adopted or imported it, so it is removed from this state and stays as it is. "+
					"To manage it here, remove it from the other state (terraform state rm) and import it.")
			return false
		}
		switch {
		case saved.Imported:
			if c.hold(ctx, r, saved.Token) == nil {
				savedClaim{Token: saved.Token}.save(ctx, private, diags)
			}
		case !r.OneTagSet:
			c.holdOpen(ctx, r, saved)
		}
	}
	c.mu.Lock()
	c.read[r.key()] = true
	c.mu.Unlock()
	return true
}

// hold marks a resource as held. Credentials that can only read cannot do that,
// which must not fail a plan.
func (c *Claims) hold(ctx context.Context, r Claimed, token string) error {
	err := r.Write(ctx, Claim{Held: true, Owner: c.owner, Token: token}.String())
	if err != nil {
		tflog.Info(ctx, "resource not marked as held", map[string]any{"kind": r.Kind, "id": r.ID, "error": err.Error()})
	}
	return err
}

// holdOpen marks a resource with an open claim as held, if it can.
func (c *Claims) holdOpen(ctx context.Context, r Claimed, saved savedClaim) {
	if claim, ok := parseClaim(r.Tag); ok && !claim.Held && claim.Token == saved.Token {
		_ = c.hold(ctx, r, saved.Token) // the next read or update tries again
	}
}

// MayUpdate reports whether the state entry still has the resource, and otherwise adds
// an error. Read finds that out before, unless the plan was made without a refresh or
// before another state took the resource over. r.Tag is not used.
func (c *Claims) MayUpdate(ctx context.Context, r Claimed, private PrivateState, diags *diag.Diagnostics) bool {
	saved := loadClaim(ctx, private, diags)
	tag, exists, err := r.Reread(ctx)
	stale := false
	if err == nil && exists {
		r.Tag = tag
		if _, claimed := parseClaim(tag); claimed && saved.Token == "" {
			stale = true // or the entry was not refreshed since the provider knows claims
		} else {
			stale, err = c.isStale(ctx, r, saved)
		}
	}
	if stale {
		err = errors.New("nothing was changed, because another state may have adopted or imported it. Plan again with a refresh (without -refresh=false), " +
			"and apply that plan: if the resource belongs to another state, the plan removes it from this one and warns")
	}
	AddError(diags, "update", r.Kind, r.ID, err)
	if err == nil {
		c.holdOpen(ctx, r, saved)
	}
	return err == nil && !diags.HasError()
}

// MayDelete reports whether the state entry still has the resource, which else
// stays, with a warning. r.Tag is not used.
func (c *Claims) MayDelete(ctx context.Context, r Claimed, private PrivateState, diags *diag.Diagnostics) bool {
	saved := loadClaim(ctx, private, diags)
	tag, _, err := r.Reread(ctx)
	stale := false
	if err == nil {
		r.Tag = tag
		stale, err = c.isStale(ctx, r, saved)
	}
	AddError(diags, "delete", r.Kind, r.ID, err)
	if stale {
		diags.AddWarning(fmt.Sprintf("%s %s was not deleted", r.Kind, r.ID), "Another resource or configuration has adopted it, and so it is only removed from this state.")
	}
	return err == nil && !stale
}
