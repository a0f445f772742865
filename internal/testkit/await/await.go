// Package await polls conditions in tests.
package await

import (
	"testing"
	"time"
)

// Deadline is how long a condition may take to become true. It usually takes well below
// a second; how long it took is logged, and asserted in no test.
const Deadline = 30 * time.Second

// Until polls until a condition is true. It fails the test at the [Deadline].
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	began := time.Now()
	for !condition() {
		if time.Since(began) > Deadline {
			t.Fatalf("waited %s for %s", Deadline, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("waited %s for %s", time.Since(began).Round(time.Millisecond), what)
}
