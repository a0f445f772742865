#!/bin/sh
# Makes the folders that the role names, then runs the install.sh of common and of
# the role.
exec 2>&1
systemd-tmpfiles --create --exclude-prefix=/dev || test $? -eq 73 # EX_CANTCREAT: what a container has not
systemctl daemon-reload 2>/dev/null || true # there is no systemd in a chroot
# shellcheck source=/dev/null
. ./env
if test -e apt.conf; then export APT_CONFIG="$PWD/apt.conf"; fi
for part in common role; do
    if test -e "$part/install.sh"; then
        (cd "$part" && ./install.sh)
    fi
done
