#!/bin/sh
set -eu
# The library that applications import, installed as any other, so that pip counts
# it among what the image has.
elements=/usr/share/xeroops/elements
if test -e "$elements/pyproject.toml"; then
	build=$(mktemp -d)
	trap 'rm -rf "$build"' EXIT
	cp -R "$elements" "$build/"
	# Where Debian's own packages are: /usr/local is for who runs the node.
	DEB_PYTHON_INSTALL_LAYOUT=deb pip install --quiet --no-index --no-deps --no-build-isolation \
		--break-system-packages --root-user-action=ignore --force-reinstall --prefix=/usr "$build/elements"
fi
