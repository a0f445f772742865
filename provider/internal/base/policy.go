package base

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// SamePolicy reports whether two policy documents mean the same to IAM and S3,
// which return a document in another form than it was given: statements, actions,
// resources, principals and the values of a condition are sets, a string is a list
// of one, actions and condition keys ignore case, and a principal "*" is every AWS
// principal (IAM user guide, "IAM JSON policy elements reference"). A document that
// is not JSON is the same as itself only.
//
// github.com/hashicorp/awspolicyequivalence takes a missing Principal for "*", and
// keeps the case of actions.
func SamePolicy(a, b string) bool {
	var left, right map[string]any
	if json.Unmarshal([]byte(a), &left) != nil || json.Unmarshal([]byte(b), &right) != nil {
		return a == b
	}
	return reflect.DeepEqual(canonicalPolicy(left), canonicalPolicy(right))
}

func canonicalPolicy(document map[string]any) map[string]any {
	if document["Version"] == nil {
		document["Version"] = "2008-10-17" // IAM's default
	}
	dropEmpty(document, "Id")
	statements, isList := document["Statement"].([]any)
	if !isList && document["Statement"] != nil {
		statements = []any{document["Statement"]}
	}
	var canonical []string
	for _, s := range statements {
		if statement, ok := s.(map[string]any); ok {
			s = canonicalStatement(statement)
		}
		text, _ := json.Marshal(s) // sorts keys; what was unmarshalled can be marshalled
		canonical = append(canonical, string(text))
	}
	document["Statement"] = sorted(canonical)
	return document
}

func canonicalStatement(statement map[string]any) map[string]any {
	dropEmpty(statement, "Sid")
	for key, value := range statement {
		switch key {
		case "Action", "NotAction":
			statement[key] = setOf(value, strings.ToLower)
		case "Resource", "NotResource":
			statement[key] = setOf(value, asIs)
		case "Principal", "NotPrincipal":
			statement[key] = canonicalPrincipal(value)
		case "Condition":
			statement[key] = canonicalCondition(value)
		}
	}
	return statement
}

func canonicalPrincipal(principal any) any {
	if principal == "*" {
		principal = map[string]any{"AWS": "*"}
	}
	kinds, ok := principal.(map[string]any)
	if !ok {
		return principal
	}
	for kind, values := range kinds {
		kinds[kind] = setOf(values, func(value string) string {
			if m := accountRoot.FindStringSubmatch(value); m != nil {
				return m[1]
			}
			return value
		})
	}
	return kinds
}

// accountRoot is the ARN that IAM stores for an account's number.
var accountRoot = regexp.MustCompile(`^arn:[\w-]+:iam::(\d{12}):root$`)

func canonicalCondition(condition any) any {
	operators, ok := condition.(map[string]any)
	if !ok {
		return condition
	}
	for operator, tests := range operators {
		keys, ok := tests.(map[string]any)
		if !ok {
			continue
		}
		canonical := map[string]any{}
		for key, values := range keys {
			canonical[strings.ToLower(key)] = setOf(values, asIs)
		}
		operators[operator] = canonical
	}
	return operators
}

// setOf returns the sorted values of a list, or of a single value, as canonical
// makes them. Values that are not strings, such as true, are equal to their text.
func setOf(value any, canonical func(string) string) []string {
	values, isList := value.([]any)
	if !isList {
		values = []any{value}
	}
	var set []string
	for _, v := range values {
		text, isString := v.(string)
		if !isString {
			encoded, _ := json.Marshal(v)
			text = string(encoded)
		}
		set = append(set, canonical(text))
	}
	return sorted(set)
}

func asIs(s string) string { return s }

func sorted(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }

func dropEmpty(object map[string]any, key string) {
	if object[key] == "" {
		delete(object, key)
	}
}
