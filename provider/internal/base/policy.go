package base

import (
	"encoding/json"
	"reflect"
)

// SamePolicy reports whether two policy documents are equivalent: AWS returns a
// document in another form than it was given.
func SamePolicy(a, b string) bool {
	var left, right any
	if json.Unmarshal([]byte(a), &left) != nil || json.Unmarshal([]byte(b), &right) != nil {
		return a == b
	}
	return reflect.DeepEqual(left, right)
}
