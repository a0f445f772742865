// Package iampolicy evaluates IAM policy documents: actions, resources, principals and
// the condition operators that this project's policies use; and knows what S3 requests
// require. It returns an error for elements that
// it does not support, rather than evaluate a policy differently than AWS.
package iampolicy

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Document is a parsed policy document.
type Document struct {
	Statements []Statement
}

// Statement is one statement of a policy.
type Statement struct {
	Sid          string
	Effect       string // Allow or Deny
	Actions      []string
	NotActions   []string
	Resources    []string
	NotResources []string
	Principals   []string // ARNs, account ids or *; empty in identity policies
	Conditions   []Condition
}

// Condition is a condition operator applied to a key.
type Condition struct {
	Operator string
	Key      string
	Values   []string
}

// Parse parses a policy document. It returns an error for elements and condition
// operators that this package does not support.
func Parse(document []byte) (Document, error) {
	var raw struct {
		Statement oneOrMany[rawStatement]
	}
	if err := json.Unmarshal(document, &raw); err != nil {
		return Document{}, fmt.Errorf("parse policy document: %w", err)
	}
	var doc Document
	for i, r := range raw.Statement {
		s, err := r.statement()
		if err != nil {
			return Document{}, fmt.Errorf("parse policy document: statement %d (%s): %w", i, r.Sid, err)
		}
		doc.Statements = append(doc.Statements, s)
	}
	return doc, nil
}

type rawStatement struct {
	Sid          string
	Effect       string
	Action       oneOrMany[string]
	NotAction    oneOrMany[string]
	Resource     oneOrMany[string]
	NotResource  oneOrMany[string]
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Condition    map[string]map[string]oneOrMany[scalar]
}

func (r rawStatement) statement() (Statement, error) {
	s := Statement{
		Sid: r.Sid, Effect: r.Effect,
		Actions: r.Action, NotActions: r.NotAction,
		Resources: r.Resource, NotResources: r.NotResource,
	}
	if s.Effect != "Allow" && s.Effect != "Deny" {
		return s, fmt.Errorf("effect %q is neither Allow nor Deny", s.Effect)
	}
	if len(r.NotPrincipal) > 0 {
		return s, fmt.Errorf("NotPrincipal is not supported")
	}
	var err error
	if s.Principals, err = principals(r.Principal); err != nil {
		return s, err
	}
	for operator, keys := range r.Condition {
		if _, err := operatorOf(operator); err != nil {
			return s, err
		}
		for key, values := range keys {
			c := Condition{Operator: operator, Key: key}
			for _, v := range values {
				c.Values = append(c.Values, string(v))
			}
			s.Conditions = append(s.Conditions, c)
		}
	}
	return s, nil
}

// principals flattens "*", {"AWS": "…"} and {"AWS": ["…"], "Service": "…"}.
func principals(raw json.RawMessage) ([]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var star string
	if json.Unmarshal(raw, &star) == nil {
		return []string{star}, nil
	}
	var kinds map[string]oneOrMany[string]
	if err := json.Unmarshal(raw, &kinds); err != nil {
		return nil, fmt.Errorf("principal: %w", err)
	}
	var all []string
	for _, kind := range []string{"AWS", "Service", "Federated", "CanonicalUser"} {
		all = append(all, kinds[kind]...)
	}
	return all, nil
}

// oneOrMany decodes a JSON value or an array of them.
type oneOrMany[T any] []T

func (o *oneOrMany[T]) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(b)), "[") {
		return json.Unmarshal(b, (*[]T)(o))
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*o = oneOrMany[T]{one}
	return nil
}

// scalar is a condition value: a JSON string, boolean or number.
type scalar string

func (s *scalar) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*s = scalar(text)
		return nil
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*s = scalar(fmt.Sprint(v))
	return nil
}
