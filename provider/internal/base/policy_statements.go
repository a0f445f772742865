package base

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Statements returns the statements of a policy document: each is an object as
// written. A single statement need not be in a list.
func Statements(document string) ([]map[string]any, error) {
	var policy struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&policy); err != nil {
		return nil, fmt.Errorf("not a policy document with Version and Statement: %w", err)
	}
	if policy.Version != "" && policy.Version != policyVersion {
		return nil, fmt.Errorf("the policy's Version is %s; use %s", policy.Version, policyVersion)
	}
	var list []map[string]any
	if json.Unmarshal(policy.Statement, &list) != nil {
		var single map[string]any
		if json.Unmarshal(policy.Statement, &single) != nil {
			return nil, errors.New("the policy's Statement is neither a statement nor a list of statements")
		}
		list = []map[string]any{single}
	}
	if len(list) == 0 {
		return nil, errors.New("the policy has no statement")
	}
	return list, nil
}

const policyVersion = "2012-10-17"

// PolicyOf returns a policy document with the statements.
func PolicyOf(statements ...map[string]any) string {
	policy, err := json.Marshal(map[string]any{"Version": policyVersion, "Statement": statements})
	if err != nil {
		panic(err) // does not happen: the statements come from JSON or are maps of strings
	}
	return string(policy)
}

// WithoutStatements returns the document without the statements that mean the same
// as one of own, or "" if no other is left, and reports whether all of own were in it.
// A document that cannot be parsed is returned as it is.
func WithoutStatements(document string, own []map[string]any) (rest string, complete bool) {
	all, err := Statements(document)
	if err != nil {
		return document, false
	}
	var others []map[string]any
	missing := slices.Clone(own)
	for _, s := range all {
		same := func(o map[string]any) bool { return SamePolicy(PolicyOf(s), PolicyOf(o)) }
		if slices.ContainsFunc(own, same) {
			missing = slices.DeleteFunc(missing, same)
			continue
		}
		others = append(others, s)
	}
	if len(others) > 0 {
		rest = PolicyOf(others...)
	}
	return rest, len(missing) == 0
}

// fixingKeys are the condition keys whose fixed values make a statement for every
// principal not public (S3 user guide, "The meaning of public").
var fixingKeys = []string{"aws:principalorgid", "aws:principalaccount", "aws:principalarn", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner",
	"aws:sourceaccount", "aws:sourceip", "s3:dataaccesspointarn", "s3:dataaccesspointaccount"}

// fixingOperators are the operators that require a value of the key. Those with
// IfExists or Not, and those of sets, also match requests without it.
var fixingOperators = []string{"StringEquals", "StringLike", "ArnEquals", "ArnLike", "IpAddress"}

// IsPublic reports whether a statement allows something to everybody, as S3's public
// access block decides it.
func IsPublic(statement map[string]any) bool {
	if statement["Effect"] != "Allow" {
		return false
	}
	if statement["NotPrincipal"] != nil {
		return true
	}
	return isEverybody(statement["Principal"]) && !isRestricted(statement["Condition"])
}

func isEverybody(principal any) bool {
	kinds, ok := principal.(map[string]any)
	if !ok {
		return principal == "*"
	}
	for _, values := range kinds {
		if slices.Contains(setOf(values, asIs), "*") {
			return true
		}
	}
	return false
}

func isRestricted(condition any) bool {
	operators, _ := condition.(map[string]any)
	for operator, tests := range operators {
		keys, _ := tests.(map[string]any)
		if !slices.Contains(fixingOperators, operator) {
			continue
		}
		for key, values := range keys {
			if slices.Contains(fixingKeys, strings.ToLower(key)) && !slices.ContainsFunc(setOf(values, asIs), isBroad) {
				return true
			}
		}
	}
	return false
}

// isBroad reports whether a value of a condition is a pattern, or a range of addresses
// that S3 takes for the internet: IPv4 below /8, IPv6 below /32.
func isBroad(value string) bool {
	if strings.ContainsAny(value, "*?") {
		return true
	}
	ip, err := netip.ParsePrefix(value)
	return err == nil && (ip.Addr().Is4() && ip.Bits() < 8 || ip.Addr().Is6() && ip.Bits() < 32)
}

// Values returns the values of a policy element that is a string, a list of strings,
// or absent.
func Values(element any) []string {
	if element == nil {
		return nil
	}
	return setOf(element, asIs)
}

// AllowedAccounts returns the accounts of the principals that the statements allow
// something. bounded is false if a statement allows principals whose account it does
// not name: everybody under a condition, federated or canonical users.
func AllowedAccounts(statements []map[string]any) (accounts []string, bounded bool) {
	for _, s := range statements {
		if s["Effect"] != "Allow" {
			continue
		}
		kinds, ok := s["Principal"].(map[string]any)
		if !ok {
			return nil, false
		}
		for kind, principals := range kinds {
			for _, principal := range Values(principals) {
				account, known := accountOf(principal)
				switch {
				case kind == "Service":
				case kind != "AWS" || !known:
					return nil, false
				default:
					accounts = append(accounts, account)
				}
			}
		}
	}
	return accounts, true
}

var accountNumber = regexp.MustCompile(`^\d{12}$`)

// accountOf returns the account of a principal: an account number or an ARN.
func accountOf(principal string) (account string, known bool) {
	if fields := strings.SplitN(principal, ":", 6); len(fields) == 6 {
		principal = fields[4]
	}
	return principal, accountNumber.MatchString(principal)
}
