package base

import (
	"encoding/json"
	"reflect"
)

// SamePolicy says whether two policy documents say the same: AWS gives one back
// in a spelling of its own.
func SamePolicy(a, b string) bool {
	var left, right any
	if json.Unmarshal([]byte(a), &left) != nil || json.Unmarshal([]byte(b), &right) != nil {
		return a == b
	}
	return reflect.DeepEqual(left, right)
}
