#!/bin/sh
# Configures what every role has, once its packages and files are installed.
# Running it again changes nothing.
set -eu

# xeroops-node boot starts the role's services once it has configured them.
grep -vx ssh.service "$XEROOPS_BUNDLE/units" | while read -r unit; do
	systemctl --quiet disable "$unit"
done
systemctl --quiet enable chrony.service infrastructure-ready.service

# A prefix drop-in reaches our own units only. Debian's units that a service changes
# (UNIT.service.d/xeroops.conf) get the same hardening by a link.
for dropin in /usr/lib/systemd/system/*.service.d/xeroops.conf; do
	ln -sf ../xeroops-.service.d/10-hardening.conf "${dropin%/*}/10-hardening.conf"
done

# Timers that would contact the internet, or that have no purpose on a machine that
# is replaced rather than upgraded.
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all man-db; do
	ln -sf /dev/null "/etc/systemd/system/$timer.timer"
done

# This key would be the same on every node; nothing uses it.
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
