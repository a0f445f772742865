package iampolicy

import (
	"slices"
	"strings"
)

// Decision is the outcome of an evaluation.
type Decision int

// The decisions in IAM's order of strength.
const (
	ImplicitDeny Decision = iota // nothing allows it
	Allow
	ExplicitDeny // a Deny statement matches, which no Allow outweighs
)

// Request is an action that a principal requests on a resource.
type Request struct {
	Action    string              // s3:GetObject
	Resource  string              // ARN
	Principal string              // ARN of the caller's role
	Context   map[string][]string // condition keys, in lower case, of the request
}

// Evaluate evaluates the documents together.
func Evaluate(request Request, documents ...Document) Decision {
	decision := ImplicitDeny
	for _, d := range documents {
		for _, s := range d.Statements {
			if !s.matches(request) {
				continue
			}
			if s.Effect == "Deny" {
				return ExplicitDeny
			}
			decision = Allow
		}
	}
	return decision
}

func (s Statement) matches(r Request) bool {
	return s.matchesAction(r.Action) && s.matchesResource(r) && s.matchesPrincipal(r.Principal) && s.matchesConditions(r)
}

// matchesAction reports whether the statement applies to an action, ignoring case.
func (s Statement) matchesAction(action string) bool {
	named := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			return Match(strings.ToLower(p), strings.ToLower(action))
		})
	}
	if len(s.NotActions) > 0 {
		return !named(s.NotActions)
	}
	return named(s.Actions)
}

func (s Statement) matchesResource(r Request) bool {
	named := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return Match(expand(p, r.Context), r.Resource) })
	}
	if len(s.NotResources) > 0 {
		return !named(s.NotResources)
	}
	return named(s.Resources)
}

// matchesPrincipal reports whether the statement applies to a principal. Identity
// policies have no principals and always match. A role matches its own ARN, its
// account's id and the ARN of its account's root.
func (s Statement) matchesPrincipal(principal string) bool {
	if len(s.Principals) == 0 {
		return true
	}
	var account string
	if parts := strings.Split(principal, ":"); len(parts) > 4 {
		account = parts[4]
	}
	return slices.ContainsFunc(s.Principals, func(p string) bool {
		return p == "*" || p == principal || p == account || p == "arn:aws:iam::"+account+":root"
	})
}

func (s Statement) matchesConditions(r Request) bool {
	for _, c := range s.Conditions {
		if !c.holds(r.Context) {
			return false
		}
	}
	return true
}

// expand replaces policy variables ${key} by the request's values. An unknown variable
// is kept, so that the pattern matches nothing.
func expand(pattern string, context map[string][]string) string {
	for start := strings.Index(pattern, "${"); start >= 0; {
		length := strings.IndexByte(pattern[start:], '}')
		if length < 0 {
			return pattern
		}
		key := strings.ToLower(pattern[start+2 : start+length])
		next := start + length
		if values := context[key]; len(values) == 1 {
			pattern = pattern[:start] + values[0] + pattern[start+length+1:]
			next = start + len(values[0])
		}
		offset := strings.Index(pattern[next:], "${")
		if offset < 0 {
			break
		}
		start = next + offset
	}
	return pattern
}

// Match reports whether s matches an IAM pattern, in which * stands for any
// characters, slashes included, and ? for one.
func Match(pattern, s string) bool {
	// Backtracking to the last * only avoids exponential time on patterns such as
	// *a*a*a*a*b.
	var p, i int
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
