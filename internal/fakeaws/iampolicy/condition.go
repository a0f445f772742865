package iampolicy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// operator is a condition operator without its set prefix and IfExists suffix.
type operator struct {
	matches func(pattern, value string) bool
	negated bool // true if no pattern matches or the key is absent
}

var operators = map[string]operator{
	"StringEquals":              {matches: func(p, v string) bool { return p == v }},
	"StringNotEquals":           {matches: func(p, v string) bool { return p == v }, negated: true},
	"StringEqualsIgnoreCase":    {matches: strings.EqualFold},
	"StringNotEqualsIgnoreCase": {matches: strings.EqualFold, negated: true},
	"StringLike":                {matches: Match},
	"StringNotLike":             {matches: Match, negated: true},
	"ArnEquals":                 {matches: Match},
	"ArnLike":                   {matches: Match},
	"ArnNotEquals":              {matches: Match, negated: true},
	"ArnNotLike":                {matches: Match, negated: true},
	"Bool":                      {matches: strings.EqualFold},
	"IpAddress":                 {matches: inRange},
	"NotIpAddress":              {matches: inRange, negated: true},
	"NumericEquals":             {matches: numbers(func(p, v float64) bool { return v == p })},
	"NumericLessThan":           {matches: numbers(func(p, v float64) bool { return v < p })},
	"NumericLessThanEquals":     {matches: numbers(func(p, v float64) bool { return v <= p })},
	"NumericGreaterThan":        {matches: numbers(func(p, v float64) bool { return v > p })},
	"NumericGreaterThanEquals":  {matches: numbers(func(p, v float64) bool { return v >= p })},
}

const null = "Null" // tests whether the key is present

func operatorOf(name string) (operator, error) {
	if name == null {
		return operator{}, nil
	}
	if op, ok := operators[bareOperator(name)]; ok {
		return op, nil
	}
	return operator{}, fmt.Errorf("condition operator %q is not supported", name)
}

func bareOperator(name string) string {
	name = strings.TrimPrefix(name, "ForAllValues:")
	name = strings.TrimPrefix(name, "ForAnyValue:")
	return strings.TrimSuffix(name, "IfExists")
}

func (c Condition) holds(context map[string][]string) bool {
	values, present := context[strings.ToLower(c.Key)]
	if c.Operator == null {
		return slices.Contains(c.Values, strconv.FormatBool(!present))
	}
	op := operators[bareOperator(c.Operator)]
	if !present {
		return op.negated || strings.HasSuffix(c.Operator, "IfExists") || strings.HasPrefix(c.Operator, "ForAllValues:")
	}
	one := func(value string) bool {
		matched := slices.ContainsFunc(c.Values, func(p string) bool { return op.matches(expand(p, context), value) })
		return matched != op.negated
	}
	if strings.HasPrefix(c.Operator, "ForAnyValue:") {
		return slices.ContainsFunc(values, one)
	}
	return !slices.ContainsFunc(values, func(v string) bool { return !one(v) })
}

func inRange(cidr, address string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	if p, err := netip.ParsePrefix(cidr); err == nil {
		return p.Contains(a)
	}
	single, err := netip.ParseAddr(cidr)
	return err == nil && single == a
}

func numbers(compare func(pattern, value float64) bool) func(pattern, value string) bool {
	return func(pattern, value string) bool {
		p, errP := strconv.ParseFloat(pattern, 64)
		v, errV := strconv.ParseFloat(value, 64)
		return errP == nil && errV == nil && compare(p, v)
	}
}
