#!/bin/sh
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ssh-keygen -q -t ed25519 -N '' -f "$scratch/host" # the image has no host keys
/usr/sbin/sshd -t -h "$scratch/host"
test "$(systemctl is-enabled ssh.service)" = enabled
