package fixups

import (
	"net/http"
	"sync"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// conditionalPut makes the writes of an object take turns. Moto checks the condition of a
// put and then stores the object, so that two puts at the same time may both succeed
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
func conditionalPut() fakeaws.Middleware {
	var objects sync.Map // *sync.Mutex by bucket and key
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			if c.Is(fakeaws.S3, "PutObject") || c.Is(fakeaws.S3, "DeleteObject") {
				turn, _ := objects.LoadOrStore(c.Bucket+"/"+c.Key, &sync.Mutex{})
				turn.(*sync.Mutex).Lock()
				defer turn.(*sync.Mutex).Unlock()
			}
			return next(c)
		}
	}
}
