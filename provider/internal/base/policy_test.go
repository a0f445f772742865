package base

import "testing"

func TestPoliciesAreComparedByWhatTheySay(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	const read, write = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"a"}`, `{"Effect":"Allow","Action":"s3:PutObject","Resource":"a"}`
	for name, tc := range map[string]struct {
		a, b string
		same bool
	}{
		"white space and order of keys":     {`{"a":1,"b":[1,2]}`, "{ \"b\": [1, 2],\n \"a\": 1 }", true},
		"another value":                     {`{"a":1}`, `{"a":2}`, false},
		"no policy":                         {"", "", true},
		"no policy and an empty one":        {"", `{}`, false},
		"lists in another order":            {statement(`{"Action":["a","b"],"Resource":["c","d"]}`), statement(`{"Resource":["d","c"],"Action":["b","a"]}`), true},
		"another resource":                  {statement(`{"Resource":["c","d"]}`), statement(`{"Resource":["c","e"]}`), false},
		"one resource less":                 {statement(`{"Resource":["c","d"]}`), statement(`{"Resource":["c"]}`), false},
		"a string and a list of one":        {statement(`{"Action":"a","Resource":["c"]}`), statement(`{"Action":["a"],"Resource":"c"}`), true},
		"a statement and a list of one":     {statement(read), `{"Version":"2012-10-17","Statement":` + read + `}`, true},
		"statements in another order":       {statement(read + "," + write), statement(write + "," + read), true},
		"a statement less":                  {statement(read + "," + write), statement(read), false},
		"a statement twice":                 {statement(read), statement(read + "," + read), true},
		"allow and deny":                    {statement(`{"Effect":"Allow"}`), statement(`{"Effect":"Deny"}`), false},
		"actions in another case":           {statement(`{"Action":"s3:GetObject"}`), statement(`{"Action":"S3:getobject"}`), true},
		"resources in another case":         {statement(`{"Resource":"Key"}`), statement(`{"Resource":"key"}`), false},
		"action and not action":             {statement(`{"Action":"a"}`), statement(`{"NotAction":"a"}`), false},
		"an empty sid":                      {statement(`{"Sid":"","Action":"a"}`), statement(`{"Action":"a"}`), true},
		"principals in another order":       {statement(`{"Principal":{"AWS":["a","b"],"Service":"c"}}`), statement(`{"Principal":{"Service":["c"],"AWS":["b","a"]}}`), true},
		"every principal":                   {statement(`{"Principal":"*"}`), statement(`{"Principal":{"AWS":["*"]}}`), true},
		"no principal":                      {statement(`{"Principal":"*"}`), statement(`{}`), false},
		"another kind of principal":         {statement(`{"Principal":{"AWS":"a"}}`), statement(`{"Principal":{"Service":"a"}}`), false},
		"an account and its root":           {statement(`{"Principal":{"AWS":"123456789012"}}`), statement(`{"Principal":{"AWS":"arn:aws-cn:iam::123456789012:root"}}`), true},
		"another account":                   {statement(`{"Principal":{"AWS":"123456789012"}}`), statement(`{"Principal":{"AWS":"arn:aws:iam::210987654321:root"}}`), false},
		"a condition's key, value and type": {statement(`{"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`), statement(`{"Condition":{"Bool":{"AWS:securetransport":[false]}}}`), true},
		"another operator":                  {statement(`{"Condition":{"StringLike":{"k":"v"}}}`), statement(`{"Condition":{"StringEquals":{"k":"v"}}}`), false},
		"no condition":                      {statement(`{"Condition":{"Bool":{"k":"v"}}}`), statement(`{}`), false},
		"no version and the oldest":         {`{"Statement":[]}`, `{"Version":"2008-10-17","Statement":[]}`, true},
		"no version and the newest":         {`{"Statement":[]}`, statement(""), false},
	} {
		if SamePolicy(tc.a, tc.b) != tc.same || SamePolicy(tc.b, tc.a) != tc.same {
			t.Errorf("%s: %s and %s: same is not %v", name, tc.a, tc.b, tc.same)
		}
	}
}
