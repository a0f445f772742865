#!/bin/sh
# What every role has, once its packages and files are there. Run again, it changes
# nothing.
set -eu

# The ports that service-ports.json opens, as nftables' set.
{
	printf 'set services {\n\ttype inet_proto . inet_service\n\tflags interval\n\telements = {'
	sort -u ../ports | awk '{printf "%s\n\t\t%s . %s", (NR > 1 ? "," : ""), $1, $2}'
	printf '\n\t}\n}\n'
} >/etc/nftables.d/services.nft

# boot starts the role's services, once it knows who the node is.
grep -vx ssh.service ../units | while read -r unit; do
	systemctl --quiet disable "$unit"
done
systemctl --quiet enable chrony.service infrastructure-ready.service nftables.service ssh.service

# Timers that would ask the internet, or have nothing to do on a machine that is
# exchanged, not upgraded.
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all man-db; do
	ln -sf /dev/null "/etc/systemd/system/$timer.timer"
done

# The same on every node, if it stayed; nobody uses it.
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
