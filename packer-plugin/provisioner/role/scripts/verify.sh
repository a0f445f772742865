#!/bin/sh
# Verifies that the role's units are there and sound, and runs the role's own checks:
# on a copy of the machine's files, in a network and among processes of their own, with
# the configuration that boot would render from made-up data. Nothing of it stays.
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
mkdir -p ".$bundle" # where /tmp is in memory, it is not in the copy
mount --bind "$bundle" ".$bundle"
# Any address of the made-up cluster is this machine's.
ip link set lo up
ip route add local 10.0.0.0/8 dev lo
exec chroot . sh -eu "$bundle/scripts/checks.sh" "$bundle"
