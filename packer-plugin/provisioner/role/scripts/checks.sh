#!/bin/sh
# The part of verify.sh that runs on the copy.
set -eu
export XEROOPS_BUNDLE="$1"
cd "$XEROOPS_BUNDLE"
# shellcheck source=/dev/null
. ./env
failed=''
systemd-tmpfiles --create --prefix=/run 2>/dev/null || true # some entries need what the copy lacks
if test -x /usr/bin/xeroops-node; then
    xeroops-node configure --sample "$XEROOPS_ROLE" / >/dev/null
fi
while read -r unit; do
    # The file of an instance such as wg-quick@wg0.service is wg-quick@.service.
    file=$(printf '%s' "$unit" | sed 's/@[^.]*\./@./')
    found=''
    for dir in /etc/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system; do
        if test -e "$dir/$unit" || test -e "$dir/$file"; then found=yes; fi
    done
    if test -z "$found"; then
        echo "$unit: unit not found"
        failed="$failed $unit"
    elif ! systemd-analyze verify --man=no --recursive-errors=no "$unit"; then
        failed="$failed $unit"
    fi
done <units
while read -r part <&3; do
    if test -e "$part/verify.sh" && ! (cd "$part" && ./verify.sh); then
        failed="$failed $part/verify.sh"
    fi
done 3<parts
if test -n "$failed"; then
    echo "checks failed:$failed"
    exit 1
fi
