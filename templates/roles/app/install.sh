#!/bin/sh
set -eu
# The library that applications import, installed as any other, so that pip counts
# it among what the image has; and where Debian's own packages are, since /usr/local
# is for who runs the node. A fixed folder and time give the same bytes each time.
build=/tmp/xeroops-elements
rm -rf "$build"
trap 'rm -rf "$build"' EXIT
cp -R /usr/share/xeroops/elements "$build"
SOURCE_DATE_EPOCH=315532800 DEB_PYTHON_INSTALL_LAYOUT=deb pip install --quiet --no-index --no-deps --no-build-isolation \
	--break-system-packages --root-user-action=ignore --force-reinstall --prefix=/usr "$build"
