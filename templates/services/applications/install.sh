#!/bin/sh
set -eu
# elements, the library that applications import, is installed with pip so that pip finds
# it, and beside Debian's own packages, since /usr/local is the administrator's. The fixed
# directory and time make the result reproducible.
build=/tmp/xeroops-elements
rm -rf "$build"
trap 'rm -rf "$build"' EXIT
cp -R elements "$build"
SOURCE_DATE_EPOCH=315532800 DEB_PYTHON_INSTALL_LAYOUT=deb pip install --quiet --no-index --no-deps --no-build-isolation \
	--break-system-packages --root-user-action=ignore --force-reinstall --prefix=/usr "$build"
