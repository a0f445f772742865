#!/bin/sh
set -eu
mkdir -p /etc/nftables.d
# set_of NAME FILE prints the ports of a file as an nftables set.
set_of() {
	printf 'set %s {\n\ttype inet_proto . inet_service\n\tflags interval\n' "$1"
	if test -s "$2"; then
		printf '\telements = {'
		sort -u "$2" | awk '{printf "%s\n\t\t%s . %s", (NR > 1 ? "," : ""), $1, $2}'
		printf '\n\t}\n'
	fi
	printf '}\n'
}
# The ports that service-ports.json opens on this role, and those open to the internet.
{
	set_of services "$XEROOPS_BUNDLE/ports"
	set_of internet "$XEROOPS_BUNDLE/internet-ports"
} >/etc/nftables.d/services.nft
systemctl --quiet enable nftables.service
