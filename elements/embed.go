// Package elements embeds the Python library of that name, which applications
// import; the Packer plugin installs it into app images. Its tests are not part
// of it.
package elements

import "embed"

// Source is what pip needs to build the library.
//
//go:embed README.md pyproject.toml src/elements/*.py src/elements/py.typed
var Source embed.FS
