#!/bin/sh
# Creates the directories of tmpfiles.d, then runs each part's install.sh.
exec 2>&1
systemd-tmpfiles --create --exclude-prefix=/dev || test $? -eq 73 # EX_CANTCREAT: not possible in a container
systemctl daemon-reload 2>/dev/null || true # a chroot has no systemd
# shellcheck source=/dev/null
. ./env
export XEROOPS_BUNDLE="$PWD"
if test -e apt.conf; then export APT_CONFIG="$PWD/apt.conf"; fi
while read -r part <&3; do
    if test -e "$part/install.sh"; then
        (cd "$part" && ./install.sh)
    fi
done 3<parts
