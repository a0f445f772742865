#!/bin/sh
# Verifies the role's units and runs each part's verify.sh: on a copy of the machine's
# files, in network and PID namespaces of their own, with the configuration that boot
# would render from sample data. Nothing of it remains.
exec 2>&1
if test -z "${1:-}"; then
    exec unshare --mount --net --pid --fork --kill-child sh -eu "$0" copy
fi

set -eu
mount --make-rprivate /
bundle=$PWD
copy=$bundle/copy
mkdir -p "$copy"
mount -t tmpfs tmpfs "$copy"
mkdir "$copy/upper" "$copy/work" "$copy/root"
mount -t overlay -o "lowerdir=/,upperdir=$copy/upper,workdir=$copy/work" overlay "$copy/root"
cd "$copy/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir -p ".$bundle" # the copy lacks it if /tmp is a tmpfs
mount --bind "$bundle" ".$bundle"
# All addresses of the sample cluster are local.
ip link set lo up
ip route add local 10.0.0.0/8 dev lo
exec chroot . sh -eu "$bundle/scripts/checks.sh" "$bundle"
