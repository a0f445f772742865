package awsclient

import (
	"errors"
	"testing"
)

func TestAFailureToFindTheIdentityIsNotKept(t *testing.T) {
	answers := []error{errors.New("no route to host"), nil}
	calls := 0
	c := cachedIdentity{find: func() (identity, error) {
		calls++
		return identity{account: "123456789012", partition: "aws"}, answers[calls-1]
	}}
	if _, err := c.get(); err == nil {
		t.Error("the first call did not fail")
	}
	for range 2 {
		if who, err := c.get(); err != nil || who.account != "123456789012" {
			t.Errorf("got %v, %v", who, err)
		}
	}
	if calls != 2 {
		t.Errorf("asked %d times, want 2", calls)
	}
}
