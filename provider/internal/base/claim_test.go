package base

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/terraform-plugin-framework/diag"
)

// private is the private state of a resource.
type private map[string][]byte

func (p private) GetKey(_ context.Context, key string) ([]byte, diag.Diagnostics) { return p[key], nil }

func (p private) SetKey(_ context.Context, key string, value []byte) diag.Diagnostics {
	p[key] = value
	return nil
}

// claimable is a resource whose tag can be written, unless denied.
type claimable struct {
	tag    string
	denied bool
}

func (r *claimable) claimed() Claimed {
	return Claimed{Kind: "xeroops_eip", ID: "eipalloc-1", Tag: r.tag,
		Reread: func(context.Context) (string, bool, error) { return r.tag, true, nil },
		Write: func(_ context.Context, tag string) error {
			if r.denied {
				return errors.New("denied")
			}
			r.tag = tag
			return nil
		}}
}

func TestAClaimIsHeldOnceAStateWithItWasRead(t *testing.T) {
	ctx, entry, r := t.Context(), private{}, &claimable{denied: true}
	var diags diag.Diagnostics
	creating := NewClaims("shop")
	claim, err := creating.Open("xeroops_eip", "edge")
	if err != nil {
		t.Fatal(err)
	}
	r.tag = claim.String()
	creating.Record(ctx, "xeroops_eip", "eipalloc-1", claim, entry, &diags)
	if !NewClaims("shop").Keep(ctx, r.claimed(), entry, &diags) || r.tag != "open:shop:"+claim.Token {
		t.Errorf("with credentials that can only read, the claim is %s", r.tag)
	}
	r.denied = false
	if !NewClaims("shop").Keep(ctx, r.claimed(), entry, &diags) || r.tag != "held:shop:"+claim.Token {
		t.Errorf("the claim is %s", r.tag)
	}
	if len(diags) > 0 {
		t.Error(diags)
	}
}

func TestOnlyOpenClaimsOfTheOwnerAreAdopted(t *testing.T) {
	for _, tc := range []struct {
		owner string
		found Found
		why   string
	}{
		{"", Found{Claim: "open::t"}, ""},
		{"shop", Found{Claim: "open:shop:t"}, ""},
		{"shop", Found{Claim: "open:shop:t", InUse: "2 subnets"}, ""},
		{"", Found{Claim: "open::t", InUse: "2 subnets"}, "2 subnets"},
		{"", Found{Claim: "held::t"}, "another resource or configuration manages it"},
		{"", Found{Claim: "open:shop:t"}, `owner = "shop"`},
		{"", Found{}, "nothing shows"},
		{"", Found{Claim: "open"}, "nothing shows"},
		{"", Found{Claim: "open::t", Conflict: "its range is 10.0.0.0/16"}, "its range is"},
	} {
		tc.found.ID = "vpc-1"
		id, err := NewClaims(tc.owner).Adoptable("xeroops_vpc", "main", &tc.found)
		if tc.why == "" && (err != nil || id != "vpc-1") || tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why)) {
			t.Errorf("owner %q, %+v: %q, %v; want %q", tc.owner, tc.found, id, err, tc.why)
		}
	}
}

// An import becomes visible to the former state only in a later run: a plan with an
// import block may be discarded.
func TestAnImportTakesOverOnlyAfterItsStateWasWritten(t *testing.T) {
	synctest.Test(t, testImport) // a stale tag is read again for 15 s
}

func testImport(t *testing.T) {
	ctx, former, imported, r := t.Context(), private{}, private{}, &claimable{tag: "held::former"}
	var diags diag.Diagnostics
	savedClaim{Token: "former"}.save(ctx, former, &diags)
	planning := NewClaims("")
	planning.Import("eipalloc-1")
	if !planning.Keep(ctx, r.claimed(), imported, &diags) || r.tag != "held::former" {
		t.Errorf("the plan of an import changed the claim to %s", r.tag)
	}
	if !NewClaims("").Keep(ctx, r.claimed(), imported, &diags) || r.tag == "held::former" {
		t.Errorf("after the import, the claim is %s", r.tag)
	}
	if len(diags) > 0 {
		t.Error(diags)
	}
	// The state that had it does not delete it.
	if NewClaims("").MayDelete(ctx, r.claimed(), former, &diags) || diags.HasError() || diags.WarningsCount() == 0 {
		t.Errorf("the former state may delete it: %v", diags)
	}
	if !NewClaims("").MayDelete(ctx, r.claimed(), imported, &diags) {
		t.Error("the new state may not delete it")
	}
}

// Every plan reads the resource, and none of them is applied: the state keeps what the
// import wrote.
func TestAnImportSurvivesPlansThatAreNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, former := range []string{"", "former"} {
			r := &claimable{}
			if former != "" {
				r.tag = "held::" + former
			}
			for run := range 3 {
				var diags diag.Diagnostics
				entry := private{}
				savedClaim{Token: "mine", Imported: true, Former: former}.save(t.Context(), entry, &diags)
				if !NewClaims("").Keep(t.Context(), r.claimed(), entry, &diags) || len(diags) > 0 || r.tag != "held::mine" {
					t.Errorf("former token %q, run %d: %v, and the claim is %q", former, run, diags, r.tag)
				}
			}
		}
	})
}

// An entry of an earlier version of the provider has no token, and neither has the delete
// of a replacement, nor the entry if that delete failed.
func TestAnEntryWithoutATokenKeepsItsResource(t *testing.T) {
	for _, tag := range []string{"", "open::t", "held::t"} {
		var diags diag.Diagnostics
		r, claims := &claimable{tag: tag}, NewClaims("")
		if !claims.MayDelete(t.Context(), r.claimed(), private{}, &diags) || !claims.Keep(t.Context(), r.claimed(), private{}, &diags) || r.tag != tag {
			t.Errorf("with the claim %q: %v, and the claim is %q", tag, diags, r.tag)
		}
	}
}

// The first read gives an entry without a token one, so that a later import fences it.
func TestAnEntryOfAnEarlierVersionGetsAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tag := range []string{"", "held::t"} {
			var diags diag.Diagnostics
			ctx, entry, r := t.Context(), private{}, &claimable{tag: tag}
			NewClaims("").Keep(ctx, r.claimed(), entry, &diags)
			if r.tag != tag {
				t.Errorf("a read whose state may be discarded wrote %q over %q", r.tag, tag)
			}
			NewClaims("").Keep(ctx, r.claimed(), entry, &diags)
			if r.tag == "" || len(diags) > 0 || !NewClaims("").MayUpdate(ctx, r.claimed(), entry, &diags) {
				t.Errorf("after the second read, the claim is %q, %v", r.tag, diags)
			}
			r.tag = "held::of-an-import"
			if NewClaims("").MayDelete(ctx, r.claimed(), entry, &diags) || NewClaims("").Keep(ctx, r.claimed(), entry, &diags) {
				t.Errorf("an import does not fence the entry that had %q", tag)
			}
		}
	})
}

func TestAnUpdateOfWhatAnotherStateHasChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, entry := range map[string]savedClaim{
			"another token": {Token: "mine"}, "an import that another overtook": {Token: "new", Imported: true, Former: "mine"}, "no token": {},
		} {
			var diags diag.Diagnostics
			saved, r := private{}, &claimable{tag: "held::theirs"}
			if entry.Token != "" {
				entry.save(t.Context(), saved, &diags)
			}
			if NewClaims("").MayUpdate(t.Context(), r.claimed(), saved, &diags) || !diags.HasError() || r.tag != "held::theirs" {
				t.Errorf("%s: it may be updated, with the claim %s", name, r.tag)
			}
		}
	})
}

// One tag set is written in an apply only: a plan could overwrite the tags of others.
func TestAPlanDoesNotReplaceAllTags(t *testing.T) {
	var diags diag.Diagnostics
	ctx, entry, r := t.Context(), private{}, &claimable{tag: "open:shop:mine"}
	savedClaim{Token: "mine"}.save(ctx, entry, &diags)
	bucket := r.claimed()
	bucket.OneTagSet = true
	if !NewClaims("shop").Keep(ctx, bucket, entry, &diags) || r.tag != "open:shop:mine" {
		t.Errorf("a read wrote the claim %s", r.tag)
	}
	if !NewClaims("shop").MayUpdate(ctx, bucket, entry, &diags) || r.tag != "held:shop:mine" {
		t.Errorf("an update left the claim %s", r.tag)
	}
}

// Without an owner, only what was not yet in any state is adopted.
func TestWithoutAnOwnerACreateEndsWithAHeldClaim(t *testing.T) {
	for owner, want := range map[string]string{"": "held::", "shop": "open:shop:"} {
		var diags diag.Diagnostics
		r := &claimable{}
		p := &ProviderData{Claims: NewClaims(owner), PlanCache: &PlanCache{}}
		ctx, cancel := context.WithCancel(t.Context())
		created, err := p.AdoptOrCreate(ctx, Creation{Kind: "xeroops_eip", Name: "edge",
			Find: func(context.Context) (*Found, error) { return nil, nil },
			Write: func(ctx context.Context, _, tag string) error {
				if ctx.Err() == nil {
					r.tag = tag
				}
				return ctx.Err()
			},
			Create: func(_ context.Context, claim Claim) (string, error) { r.tag = claim.String(); return "eipalloc-1", nil },
		}, private{}, &diags)
		if err != nil || !strings.HasPrefix(r.tag, "open:"+owner+":") {
			t.Fatalf("during the create, the claim is %s, %v", r.tag, err)
		}
		cancel() // the timeout of the resource
		created.Settle(ctx)
		if !strings.HasPrefix(r.tag, want) {
			t.Errorf("with owner %q, the claim is %s at the end", owner, r.tag)
		}
	}
}

// Two states import the same resource: the later one has it.
func TestAnImportThatAnotherOvertookIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var diags diag.Diagnostics
		entry, r := private{}, &claimable{tag: "held::former"}
		savedClaim{Token: "mine", Imported: true, Former: "former"}.save(t.Context(), entry, &diags)
		r.tag = "held::of-another-import"
		if NewClaims("").Keep(t.Context(), r.claimed(), entry, &diags) || r.tag != "held::of-another-import" {
			t.Errorf("it is kept, with the claim %s", r.tag)
		}
	})
}
