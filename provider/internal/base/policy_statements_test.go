package base

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestStatementsOfAPolicy(t *testing.T) {
	for document, want := range map[string]string{
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny"},{"Effect":"Allow"}]}`: "",
		`{"Statement":{"Effect":"Deny"}}`:                                             "",
		`{"Statement":[]}`:                                                            "no statement",
		`{"Version":"2008-10-17","Statement":[{}]}`:                                   "use 2012-10-17",
		`{"Statement":"x"}`:                                                           "neither a statement",
		`{"Statements":[{}]}`:                                                         "unknown field",
		`[{}]`:                                                                        "not a policy document",
		`no JSON`:                                                                     "not a policy document",
	} {
		if _, err := Statements(document); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", document, err, want)
		}
	}
}

func statement(t *testing.T, text string) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWithoutStatements(t *testing.T) {
	own := []map[string]any{statement(t, `{"Sid":"A","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["x","y"]}`)}
	ownInOtherForm := `{"Sid":"A","Effect":"Deny","Principal":{"AWS":"*"},"Action":["S3:*"],"Resource":["y","x"]}`
	other := `{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:GetObject","Resource":"x"}`
	rest, complete := WithoutStatements(`{"Version":"2012-10-17","Statement":[`+ownInOtherForm+`,`+other+`]}`, own)
	if !complete || !SamePolicy(rest, `{"Version":"2012-10-17","Statement":`+other+`}`) {
		t.Errorf("rest %s, complete %v", rest, complete)
	}
	if rest, complete = WithoutStatements(`{"Version":"2012-10-17","Statement":[`+ownInOtherForm+`]}`, own); rest != "" || !complete {
		t.Errorf("rest %s, complete %v", rest, complete)
	}
	if _, complete = WithoutStatements(`{"Version":"2012-10-17","Statement":[`+other+`]}`, own); complete {
		t.Error("the missing statement is not reported")
	}
}

func TestPublicStatements(t *testing.T) {
	for text, want := range map[string]bool{
		`{"Effect":"Allow","Principal":"*"}`:                                                                              true,
		`{"Effect":"Allow","Principal":{"AWS":["*"]}}`:                                                                    true,
		`{"Effect":"Allow","NotPrincipal":{"AWS":"123456789012"}}`:                                                        true,
		`{"Effect":"Deny","Principal":"*"}`:                                                                               false,
		`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"}}`:                                         false,
		`{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"}}`:                                           false,
		`{"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}`:                    false,
		`{"Effect":"Allow","Principal":"*","Condition":{"StringLike":{"aws:PrincipalOrgID":"*"}}}`:                        true,
		`{"Effect":"Allow","Principal":"*","Condition":{"StringEqualsIfExists":{"aws:SourceVpce":"vpce-1"}}}`:             true,
		`{"Effect":"Allow","Principal":"*","Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}}`:                  true,
		`{"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:UserAgent":"secret"}}}`:                      true,
		`{"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}}`:   false,
		`{"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/0"]}}}`:    true,
		`{"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"::/0"}}}`:                            true,
		`{"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"AWS:SourceVpce":["vpce-1"],"aws:Referer":"x"}}}`: false,
	} {
		if got := IsPublic(statement(t, text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestAllowedAccounts(t *testing.T) {
	for text, want := range map[string]string{
		`{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::444455556666:role/x:y"],"Service":"x"}}`: "111122223333 444455556666 true",
		`{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"}}`:                                      " true",
		`{"Effect":"Deny","Principal":"*"}`:                              " true",
		`{"Effect":"Allow","Principal":"*"}`:                             " false",
		`{"Effect":"Allow","Principal":{"AWS":"*"}}`:                     " false",
		`{"Effect":"Allow","Principal":{"CanonicalUser":"79a59df900b"}}`: " false",
		`{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"}}`:       " false",
	} {
		accounts, bounded := AllowedAccounts([]map[string]any{statement(t, text)})
		if got := strings.Join(slices.Sorted(slices.Values(accounts)), " ") + fmt.Sprint(" ", bounded); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
