#!/bin/sh
# Runs the install.sh of common and of the role.
exec 2>&1
# shellcheck source=/dev/null
. ./env
if test -e apt.conf; then export APT_CONFIG="$PWD/apt.conf"; fi
for part in common role; do
    if test -e "$part/install.sh"; then
        (cd "$part" && ./install.sh)
    fi
done
