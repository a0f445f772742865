package iampolicy

import "testing"

const nodePolicy = `{"Version":"2012-10-17","Statement":[
 {"Sid":"Read","Effect":"Allow","Action":["s3:GetObject"],
  "Resource":["arn:aws:s3:::uploads-1/clusters/c/credentials/db/prod-credentials.env","arn:aws:s3:::uploads-1/clusters/c/config/*/instance-config.env"]},
 {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::uploads-1",
  "Condition":{"StringLike":{"s3:prefix":["clusters/c/vpn/peers/*","clusters/c/waf/"]}}},
 {"Effect":"Allow","Action":"s3:Put*","Resource":"arn:aws:s3:::logs-1/c/*"},
 {"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":false}}}
]}`

func TestEvaluate(t *testing.T) {
	tls := map[string][]string{"aws:securetransport": {"true"}}
	cases := []struct {
		name     string
		request  Request
		expected Decision
	}{
		{"a named key", Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::uploads-1/clusters/c/credentials/db/prod-credentials.env", Context: tls}, Allow},
		{"another role's key", Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::uploads-1/clusters/c/credentials/app/prod-credentials.env", Context: tls}, ImplicitDeny},
		{"a wildcard within a key", Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::uploads-1/clusters/c/config/db1/instance-config.env", Context: tls}, Allow},
		{"an action ignores case", Request{Action: "S3:getobject", Resource: "arn:aws:s3:::uploads-1/clusters/c/config/db1/instance-config.env", Context: tls}, Allow},
		{"a resource does not ignore case", Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::uploads-1/Clusters/c/config/db1/instance-config.env", Context: tls}, ImplicitDeny},
		{"write of a key that may be read", Request{Action: "s3:PutObject", Resource: "arn:aws:s3:::uploads-1/clusters/c/config/db1/instance-config.env", Context: tls}, ImplicitDeny},
		{"an action wildcard", Request{Action: "s3:PutObject", Resource: "arn:aws:s3:::logs-1/c/x", Context: tls}, Allow},
		{"list of a prefix", Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::uploads-1", Context: map[string][]string{"s3:prefix": {"clusters/c/vpn/peers/"}}}, Allow},
		{"list of another prefix", Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::uploads-1", Context: map[string][]string{"s3:prefix": {"clusters/"}}}, ImplicitDeny},
		{"list without a prefix", Request{Action: "s3:ListBucket", Resource: "arn:aws:s3:::uploads-1"}, ImplicitDeny},
		{"a deny outweighs", Request{Action: "s3:PutObject", Resource: "arn:aws:s3:::logs-1/c/x", Context: map[string][]string{"aws:securetransport": {"false"}}}, ExplicitDeny},
	}
	document, err := Parse([]byte(nodePolicy))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Evaluate(c.request, document); got != c.expected {
				t.Errorf("decision %d, want %d", got, c.expected)
			}
		})
	}
}

func TestConditionOperators(t *testing.T) {
	cases := []struct {
		condition string
		context   map[string][]string
		holds     bool
	}{
		{`{"StringEquals":{"k":["a","b"]}}`, map[string][]string{"k": {"b"}}, true},
		{`{"StringEquals":{"k":"a"}}`, nil, false},
		{`{"StringEqualsIfExists":{"k":"a"}}`, nil, true},
		{`{"StringNotEquals":{"k":"a"}}`, nil, true},
		{`{"StringNotEquals":{"k":"a"}}`, map[string][]string{"k": {"a"}}, false},
		{`{"Null":{"k":"true"}}`, nil, true},
		{`{"Null":{"k":true}}`, map[string][]string{"k": {"a"}}, false},
		{`{"IpAddress":{"aws:SourceIp":"10.0.0.0/16"}}`, map[string][]string{"aws:sourceip": {"10.0.2.3"}}, true},
		{`{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/16"}}`, map[string][]string{"aws:sourceip": {"10.0.2.3"}}, false},
		{`{"NumericLessThan":{"s3:TlsVersion":1.2}}`, map[string][]string{"s3:tlsversion": {"1.1"}}, true},
		{`{"ForAnyValue:StringLike":{"k":"a*"}}`, map[string][]string{"k": {"b", "ab"}}, true},
		{`{"ForAllValues:StringLike":{"k":"a*"}}`, map[string][]string{"k": {"b", "ab"}}, false},
		{`{"StringLike":{"k":"${aws:PrincipalTag/node}/*"}}`, map[string][]string{"k": {"db1/x"}, "aws:principaltag/node": {"db1"}}, true},
	}
	for _, c := range cases {
		document, err := Parse([]byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":` + c.condition + `}}`))
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		if got := Evaluate(Request{Action: "s3:GetObject", Resource: "r", Context: c.context}, document) == Allow; got != c.holds {
			t.Errorf("%s with %v: holds %v, want %v", c.condition, c.context, got, c.holds)
		}
	}
}

func TestPrincipals(t *testing.T) {
	role := "arn:aws:iam::123456789012:role/db"
	for principal, allowed := range map[string]bool{
		`"*"`: true,
		`{"AWS":"arn:aws:iam::123456789012:role/db"}`: true,
		`{"AWS":["123456789012"]}`:                    true,
		`{"AWS":"arn:aws:iam::123456789012:root"}`:    true,
		`{"AWS":"arn:aws:iam::123456789012:role/x"}`:  false,
		`{"Service":"ec2.amazonaws.com"}`:             false,
	} {
		document, err := Parse([]byte(`{"Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"*","Resource":"*"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := Evaluate(Request{Action: "a", Resource: "r", Principal: role}, document) == Allow; got != allowed {
			t.Errorf("principal %s allows %v, want %v", principal, got, allowed)
		}
	}
}

func TestParseRejectsUnsupportedElements(t *testing.T) {
	for _, document := range []string{
		`{"Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"x"}}}]}`,
		`{"Statement":[{"Effect":"Allow","NotPrincipal":"*","Action":"*","Resource":"*"}]}`,
		`{`,
	} {
		if _, err := Parse([]byte(document)); err == nil {
			t.Errorf("%s was accepted", document)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		matches    bool
	}{
		{"*", "", true}, {"a*", "a/b/c", true}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaa", false}, {"a", "ab", false}, {"", "a", false}, {"a**", "a", true},
	} {
		if Match(c.pattern, c.s) != c.matches {
			t.Errorf("Match(%q, %q) is not %v", c.pattern, c.s, c.matches)
		}
	}
}
