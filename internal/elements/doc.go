// Package elements has the tests of the Python library elements, which applications
// import, and of the sample service, which uses it: they run with Debian 13's
// Python and servers, so that `go test` runs everything there is.
package elements
