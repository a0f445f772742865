// Package inventory lists the content of an account: everything that a customer
// would pay for or have to clean up. Tests use it to check that destroy leaves
// nothing and that two runs have the same result. What AWS creates in every
// account, such as the default VPC, is omitted.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/sync/errgroup"
)

// Item is a resource in the account.
type Item struct {
	Kind string // "vpc", "instance", "object version"
	ID   string
	Name string // the resource's own, or that of its tags
	// Facts are its properties. Values may contain ids of other items.
	Facts []Fact
	// Past marks remains of a deleted or replaced item: noncurrent object versions
	// and delete markers.
	Past bool
}

// Fact is a property with one value or, in no particular order, several.
type Fact struct {
	Key    string
	Values []string
	list   bool
}

// String returns key=value, or key=[value,value].
func (f Fact) String() string {
	values := slices.Sorted(slices.Values(f.Values))
	if f.list {
		return f.Key + "=[" + strings.Join(values, ",") + "]"
	}
	return f.Key + "=" + strings.Join(values, ",")
}

// String returns a line such as `subnet subnet-1 "public" cidr=10.0.1.0/24`.
func (i Item) String() string {
	words := []string{i.Kind, i.ID, fmt.Sprintf("%q", i.Name)}
	for _, f := range i.Facts {
		words = append(words, f.String())
	}
	return strings.Join(words, " ")
}

// Config returns a configuration for clients of moto or a Front.
func Config(endpoint, region string) aws.Config {
	return aws.Config{
		BaseEndpoint: &endpoint, Region: region,
		Credentials: credentials.NewStaticCredentialsProvider("inventory", "inventory", ""),
		HTTPClient:  awshttp.NewBuildableClient(),
	}
}

// List returns the content of the account in cfg's region, sorted.
func List(ctx context.Context, cfg aws.Config) ([]Item, error) {
	parts := slices.Concat(networkLists(cfg), machineLists(cfg), identityLists(cfg), []lister{buckets(cfg)})
	found := make([][]Item, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4) // moto handles one call at a time
	for i, list := range parts {
		group.Go(func() (err error) {
			found[i], err = list(ctx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("list what the account holds: %w", err)
	}
	return sorted(slices.Concat(found...)), nil
}

type lister func(context.Context) ([]Item, error)

func sorted(items []Item) []Item {
	items = slices.DeleteFunc(items, ofDefaultVPC(items))
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return items
}

// ofDefaultVPC returns a function that reports whether an item belongs to the
// default VPC, which every account has.
func ofDefaultVPC(items []Item) func(Item) bool {
	var id string
	for _, i := range items {
		if i.Kind == "vpc" && i.fact("default") == "true" {
			id = i.ID
		}
	}
	return func(i Item) bool {
		return id != "" && (i.ID == id || i.fact("vpc") == id)
	}
}

func (i Item) fact(key string) string {
	for _, f := range i.Facts {
		if f.Key == key {
			return strings.Join(f.Values, ",")
		}
	}
	return ""
}

// Lines returns the items as text.
func Lines(items []Item) []string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = item.String()
	}
	return lines
}

var anID = regexp.MustCompile(`\b(?:pl|vpc|subnet|rtb|rtbassoc|igw|vpce|sg|sgr|eipalloc|eipassoc|vol|snap|eni|i)-[0-9a-f]{8,17}\b`)

// aClaim matches a tag xeroops:claim.
var aClaim = regexp.MustCompile(`xeroops:claim:(?:open|held):([^:]*):\w+`)

// Normalised returns the items as text that is equal for accounts with equal
// content: ids are replaced by kind and name, and items with Past are omitted. The
// id of an item that is not in the list becomes "gone". AWS's own prefix lists,
// whose ids differ between accounts, become "prefix-list". Claims lose their random
// token and whether they were read back (docs/decisions/0023).
func Normalised(items []Item) []string {
	names := map[string]string{}
	for _, i := range items {
		names[i.ID] = i.Kind + ":" + i.Name
	}
	replace := func(s string) string {
		s = aClaim.ReplaceAllString(s, "xeroops:claim:$1")
		return anID.ReplaceAllStringFunc(s, func(id string) string {
			if strings.HasPrefix(id, "pl-") {
				return "prefix-list"
			}
			return cmp.Or(names[id], "gone")
		})
	}
	var lines []string
	for _, i := range items {
		if i.Past {
			continue
		}
		same := Item{Kind: i.Kind, Name: replace(i.Name)}
		for _, f := range i.Facts {
			values := make([]string, len(f.Values))
			for n, value := range f.Values {
				values[n] = replace(value)
			}
			same.Facts = append(same.Facts, Fact{f.Key, values, f.list})
		}
		lines = append(lines, same.String())
	}
	slices.Sort(lines)
	return lines
}

// fact returns a fact with one value, or no fact for an empty value.
func fact(key string, value any) Fact {
	if s := fmt.Sprint(value); s != "" {
		return Fact{Key: key, Values: []string{s}}
	}
	return Fact{}
}

// listed returns a fact with several values.
func listed(key string, values []string) Fact {
	if len(values) == 0 {
		return Fact{}
	}
	return Fact{Key: key, Values: values, list: true}
}

func facts(all ...Fact) []Fact {
	return slices.DeleteFunc(all, func(f Fact) bool { return f.Key == "" })
}
