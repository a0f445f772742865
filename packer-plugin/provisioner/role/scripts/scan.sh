#!/bin/sh
# Fails if the image contains what looks like a secret, or the build's journal. Programs
# and libraries in /usr contain sample keys, so only directories that a build writes to
# are scanned.
exec 2>&1
keep=$(pwd -P)
patterns='-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----|(^|[^A-Za-z0-9/+])(AKIA|ASIA)[0-9A-Z]{16}([^0-9A-Z]|$)|aws_secret_access_key[[:space:]]*=|gh[pousr]_[A-Za-z0-9]{36}|xox[baprs]-[A-Za-z0-9-]{10,}|^[[:space:]]*PrivateKey[[:space:]]*=[[:space:]]*[A-Za-z0-9+/]{43}='
found=''
for dir in /etc /root /home /opt /srv /var /usr/local /usr/share/xeroops /tmp; do
    if test -d "$dir"; then
        found="$found$(find "$dir" -xdev \( -path "$keep" -o -path /var/lib/dpkg -o -path /var/cache \) -prune -o \
            -type f -size -10M -exec grep -IlE -e "$patterns" {} + || true)
"
    fi
done
while read -r excluded; do
    found=$(printf '%s\n' "$found" | grep -v -e "^$excluded\$" -e "^$excluded/" || true)
done <scan-exclude
found=$(printf '%s\n' "$found" | sort -u | sed '/^$/d')
passwords=$(awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow)
if test -n "$found"; then
    echo "These files appear to contain a secret; remove them, or list them in secret_scan_exclude:"
    echo "$found"
fi
if test -n "$passwords"; then
    echo "These accounts have a password or an empty one; lock them with passwd -l:"
    echo "$passwords"
fi
journal=$(find /var/log/journal -type f 2>/dev/null || true)
if test -n "$journal"; then
    echo "The journal of the build is on the disk:"
    echo "$journal"
fi
test -z "$found$passwords$journal"
