#!/bin/sh
# The part of verify.sh that runs on the copy.
set -eu
cd "$1"
# shellcheck source=/dev/null
. ./env
failed=''
systemd-tmpfiles --create --prefix=/run 2>/dev/null || true # some want what a copy has not
if test -x /usr/bin/xeroops-node; then
    xeroops-node configure --sample "$XEROOPS_ROLE" / >/dev/null
fi
while read -r unit; do
    # A template's instance, such as wg-quick@wg0.service, is the file wg-quick@.service.
    file=$(printf '%s' "$unit" | sed 's/@[^.]*\./@./')
    found=''
    for folder in /etc/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system; do
        if test -e "$folder/$unit" || test -e "$folder/$file"; then found=yes; fi
    done
    if test -z "$found"; then
        echo "$unit: there is no such unit"
        failed="$failed $unit"
    elif ! systemd-analyze verify --man=no --recursive-errors=no "$unit"; then
        failed="$failed $unit"
    fi
done <units
for part in common role; do
    if test -e "$part/verify.sh" && ! (cd "$part" && ./verify.sh); then
        failed="$failed $part/verify.sh"
    fi
done
if test -n "$failed"; then
    echo "not sound:$failed"
    exit 1
fi
