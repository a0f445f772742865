#!/bin/sh
# Verifies that the role's units are there and sound, and runs the role's own checks.
exec 2>&1
# shellcheck source=/dev/null
. ./env
failed=''
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
