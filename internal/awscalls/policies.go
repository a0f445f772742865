package awscalls

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed policies.yaml
var policiesText []byte

// MaxPolicy is the maximum number of characters of a managed policy without white
// space (IAM user guide, "IAM and AWS STS quotas").
const MaxPolicy = 6144

// Policy is an IAM policy for a kind of operator.
type Policy struct {
	Version    string      `json:"Version"`
	Statements []Statement `json:"Statement"`
}

// Statement is a statement of a policy.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// policyRow is a policy in policies.yaml.
type policyRow struct {
	Code     []string // prefixes of the files whose calls it has to allow; none for what is not an operator's
	Optional []string // actions of these calls that only some settings need
	Second   struct {
		Name       string
		Statements []string // the Sids of those that are a policy of their own
	}
	Statements []struct {
		Sid        string
		Effect     string // "" is Allow
		Actions    []string
		Rest       string // a service
		Resources  []string
		Conditions map[string]map[string][]string
	}
}

// Policies returns the operators' policies by name, and the boundary of the roles that
// an apply creates.
// It returns an error for an action that no statement allows, and for one that no
// call needs.
func (t Table) Policies(sites []Site) (map[string]Policy, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(policiesText))
	decoder.KnownFields(true)
	var rows map[string]policyRow
	if err := decoder.Decode(&rows); err != nil {
		return nil, fmt.Errorf("read policies.yaml: %w", err)
	}
	all := map[string]Policy{}
	for name, row := range rows {
		needed := slices.DeleteFunc(t.needed(sites, row.Code), func(a string) bool { return slices.Contains(row.Optional, a) })
		p, err := row.policy(needed)
		if err != nil {
			return nil, fmt.Errorf("policy %s of internal/awscalls/policies.yaml: %w", name, err)
		}
		all[name] = p
		if row.Second.Name != "" {
			isSecond := func(s Statement) bool { return slices.Contains(row.Second.Statements, s.Sid) }
			isFirst := func(s Statement) bool { return !isSecond(s) }
			all[name] = Policy{p.Version, slices.DeleteFunc(slices.Clone(p.Statements), isSecond)}
			all[row.Second.Name] = Policy{p.Version, slices.DeleteFunc(slices.Clone(p.Statements), isFirst)}
		}
	}
	return all, checkLengths(all)
}

// checkLengths returns an error for a policy that IAM would not accept.
func checkLengths(policies map[string]Policy) error {
	for name, p := range policies {
		text, err := p.JSON()
		if err != nil {
			return err
		}
		if n := len(strings.Join(strings.Fields(string(text)), "")); n > MaxPolicy {
			return fmt.Errorf("policy %s of internal/awscalls/policies.yaml has %d characters, and IAM allows %d: move statements to a second one", name, n, MaxPolicy)
		}
	}
	return nil
}

// Join returns a policy with the statements of all of them.
func Join(policies ...Policy) Policy {
	joined := Policy{Version: "2012-10-17"}
	for _, p := range policies {
		joined.Statements = append(joined.Statements, p.Statements...)
	}
	return joined
}

// needed returns the IAM actions of the calls in files with a prefix.
func (t Table) needed(sites []Site, prefixes []string) []string {
	var actions []string
	for _, s := range sites {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s.File, p) }) {
			actions = append(actions, t.Permissions(s.Action)...)
			if strings.HasPrefix(s.Action, "ec2:Create") || slices.Contains(tagsOnCreate, s.Action) {
				actions = append(actions, "ec2:CreateTags")
			}
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// tagsOnCreate are the calls of EC2 that create with tags and are not named Create….
var tagsOnCreate = []string{"ec2:RunInstances", "ec2:AllocateAddress", "ec2:CopyImage", "ec2:ImportKeyPair"}

func (row policyRow) policy(needed []string) (Policy, error) {
	var named []string
	for _, s := range row.Statements {
		named = append(named, s.Actions...)
	}
	p := Policy{Version: "2012-10-17"}
	allowed := slices.Clone(named)
	for _, s := range row.Statements {
		actions := slices.Clone(s.Actions)
		for _, action := range needed {
			if s.Rest != "" && strings.HasPrefix(action, s.Rest+":") && !slices.Contains(named, action) {
				actions = append(actions, action)
			}
		}
		allowed = append(allowed, actions...)
		p.Statements = append(p.Statements, Statement{Sid: s.Sid, Effect: cmp.Or(s.Effect, "Allow"), Action: actions, Resource: s.Resources, Condition: s.Conditions})
	}
	for _, action := range needed {
		if !slices.Contains(allowed, action) && len(row.Code) > 0 && !strings.HasPrefix(row.Code[0], "cli/") {
			return p, fmt.Errorf("no statement allows %s, which a call needs; add it to the actions of a statement", action)
		}
	}
	for _, action := range named {
		if len(row.Code) > 0 && !slices.Contains(needed, action) {
			return p, fmt.Errorf("no call needs %s; remove it", action)
		}
	}
	return p, nil
}

// CallNeeding returns a call of the provider that needs an IAM action, or "".
func (t Table) CallNeeding(sites []Site, action string) string {
	for _, s := range sites {
		if strings.HasPrefix(s.File, "provider/") && slices.Contains(t.Permissions(s.Action), action) {
			return s.Action
		}
	}
	return ""
}

// Fill replaces the placeholders of a policy.
func Fill(policy, partition, dnsSuffix, account, region string) string {
	return strings.NewReplacer("PARTITION", partition, "DNS_SUFFIX", dnsSuffix, "ACCOUNT_ID", account, "REGION", region).Replace(policy)
}

// JSON returns the policy as a document.
func (p Policy) JSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(p)
	return out.Bytes(), err
}
