package fixups

import (
	"net/http"
	"strings"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// unreadableError turns moto's HTML page for a traceback into an error of the
// call's protocol, which a client can show: with HTML it complains of XML.
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
				"moto could not answer "+c.Action+"; the traceback is on its stderr"), nil
		}
	}
}
