// Package inventory lists what an account holds: everything a customer would
// be billed for or would have to clean up. Tests use it to say that destroy
// left nothing, and that two runs ended with the same things. What AWS makes
// by itself in every account (the default VPC and its parts) is left out.
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

// Item is one thing in the account.
type Item struct {
	Kind string // "vpc", "instance", "object version"
	ID   string
	Name string // from its tags, or its own
	// Facts are properties as "key=value"; values may hold ids of other items.
	Facts []string
	// Past marks what is kept of something that is gone or was replaced: a
	// noncurrent object version, a delete marker.
	Past bool
}

// String returns a line such as `subnet subnet-1 "public" cidr=10.0.1.0/24`.
func (i Item) String() string {
	return strings.Join(append([]string{i.Kind, i.ID, fmt.Sprintf("%q", i.Name)}, i.Facts...), " ")
}

// Config returns a configuration for moto or a front at endpoint.
func Config(endpoint, region string) aws.Config {
	return aws.Config{
		BaseEndpoint: &endpoint, Region: region,
		Credentials: credentials.NewStaticCredentialsProvider("inventory", "inventory", ""),
		HTTPClient:  awshttp.NewBuildableClient(),
	}
}

// List returns what the account holds in cfg's region, sorted.
func List(ctx context.Context, cfg aws.Config) ([]Item, error) {
	parts := slices.Concat(networkLists(cfg), machineLists(cfg), identityLists(cfg), []lister{buckets(cfg)})
	found := make([][]Item, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4) // moto answers one call at a time
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

// ofDefaultVPC tells the items that AWS makes with an account.
func ofDefaultVPC(items []Item) func(Item) bool {
	var id string
	for _, i := range items {
		if i.Kind == "vpc" && slices.Contains(i.Facts, "default") {
			id = i.ID
		}
	}
	return func(i Item) bool {
		return id != "" && (i.ID == id || slices.Contains(i.Facts, "vpc="+id))
	}
}

// Lines returns the items as text.
func Lines(items []Item) []string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = item.String()
	}
	return lines
}

var anID = regexp.MustCompile(`\b(?:vpc|subnet|rtb|rtbassoc|igw|vpce|sg|sgr|eipalloc|eipassoc|vol|snap|eni|i)-[0-9a-f]{8,17}\b`)

// Normalised returns the items as text that is the same for two accounts that
// hold the same things: ids are replaced by kind and name, and the past (old
// object versions) is left out. An id of something that is not in the list
// becomes "gone".
func Normalised(items []Item) []string {
	names := map[string]string{}
	for _, i := range items {
		names[i.ID] = i.Kind + ":" + i.Name
	}
	replace := func(s string) string {
		return anID.ReplaceAllStringFunc(s, func(id string) string { return cmp.Or(names[id], "gone") })
	}
	var lines []string
	for _, i := range items {
		if i.Past {
			continue
		}
		facts := make([]string, len(i.Facts))
		for n, fact := range i.Facts {
			facts[n] = replace(fact)
		}
		slices.Sort(facts)
		lines = append(lines, strings.Join(append([]string{i.Kind, fmt.Sprintf("%q", replace(i.Name))}, facts...), " "))
	}
	slices.Sort(lines)
	return lines
}

// fact writes "key=value", and nothing for an empty value.
func fact(key string, value any) string {
	s := fmt.Sprint(value)
	if s == "" || s == "<nil>" {
		return ""
	}
	return key + "=" + s
}

func facts(all ...string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// listed writes "key=[a,b]" in a stable order.
func listed(key string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	values = slices.Clone(values)
	slices.Sort(values)
	return key + "=[" + strings.Join(values, ",") + "]"
}
