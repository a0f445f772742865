package fixups

import (
	"net/url"
	"strconv"
	"strings"
)

// listParam returns the values of prefix.1, prefix.2, … of a form.
func listParam(p url.Values, prefix string) []string {
	var values []string
	for i := 1; p.Has(indexed(prefix, i)); i++ {
		values = append(values, p.Get(indexed(prefix, i)))
	}
	return values
}

// indexed returns the key of the n-th value of a list.
func indexed(prefix string, n int) string { return prefix + "." + strconv.Itoa(n) }

// copyParams returns a copy of a form without the keys that have one of the
// prefixes.
func copyParams(p url.Values, without ...string) url.Values {
	clone := url.Values{}
	for key, values := range p {
		if !hasAnyPrefix(key, without) {
			clone[key] = values
		}
	}
	return clone
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
