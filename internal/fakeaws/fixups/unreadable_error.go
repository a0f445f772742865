package fixups

import (
	"net/http"
	"strings"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// unreadableError replaces the HTML page of a traceback in moto by an error in the
// call's protocol, because clients report HTML as invalid XML.
func unreadableError() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			res, err := next(c)
			if err != nil || res.StatusCode != http.StatusInternalServerError ||
				!strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
				return res, err
			}
			_ = res.Body.Close()
			return c.Error(http.StatusInternalServerError, "InternalError",
				"moto failed to handle "+c.Action+"; the traceback is on its stderr"), nil
		}
	}
}
