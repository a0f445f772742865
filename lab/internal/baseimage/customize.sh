#!/bin/sh
# Runs outside the new tree, whose path is $1, as mmdebstrap's customize hook.
set -eu
root=$1

# Each machine makes its own. An absent machine-id would make systemd ask whether
# this is a first boot; an empty one it fills silently.
rm -f "$root/etc/hostname" "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"

rm -f "$root/etc/resolv.conf"
echo 'nameserver 169.254.169.253' >"$root/etc/resolv.conf"

# cloud-init would wait 30 s for an answer to DHCP.
chroot "$root" dpkg-divert --quiet --local --rename --add /usr/sbin/dhcpcd

# Nothing is to happen by itself in a machine that a test looks at, and the console
# is only read.
systemctl --root="$root" --quiet mask \
	apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer networking.service cloud-init-hotplugd.socket \
	console-getty.service getty@tty1.service

# Or the first boot would rebuild caches that are as they should be.
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"
