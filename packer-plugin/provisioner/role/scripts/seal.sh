#!/bin/sh
# Removes what must not be in an image: keys, identity, logs, history, caches. Safe to
# run again.
exec 2>&1
keep=$(pwd -P)

# Identity: systemd and cloud-init create a new one at the first boot.
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/hostname
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/systemd/timesync/clock
rm -rf /var/lib/dhcp/* /var/lib/dhcpcd/* /var/lib/chrony/*
# The key of the package ssl-cert would be the same on every node.
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem

# Credentials of root and of the build's users.
for home in /root /home/*; do
    if test -d "$home"; then
        rm -rf "$home/.ssh" "$home/.aws" "$home/.cache" "$home/.gnupg" "$home/.netrc"
        rm -f "$home"/.*_history "$home/.wget-hsts" "$home/.lesshst" "$home/.viminfo"
    fi
done

# cloud-init runs again on the node; its directories hold the build's user-data.
if command -v cloud-init >/dev/null; then
    cloud-init clean --logs --seed >/dev/null
fi
rm -rf /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/sem /run/cloud-init/instance-data-sensitive.json

# Logs: from here on the journal is in memory, whatever the role configured.
if mkdir -p /run/systemd/journald.conf.d 2>/dev/null; then
    printf '[Journal]\nStorage=volatile\n' >/run/systemd/journald.conf.d/zz-xeroops-seal.conf
    systemctl restart systemd-journald 2>/dev/null || true
fi
rm -rf /var/log/journal/*
find /var/log -xdev -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' \) -delete
find /var/log -xdev -type f -exec truncate -s 0 {} +
rm -rf /var/lib/wtmpdb/* /var/lib/lastlog/*

# Caches and leftovers.
apt-get -qq clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old
for dir in /tmp /var/tmp; do
    find "$dir" -xdev -mindepth 1 -maxdepth 1 ! -path "$keep" ! -name 'systemd-private-*' -exec rm -rf {} +
done
sync
