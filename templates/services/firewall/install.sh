#!/bin/sh
set -eu
mkdir -p /etc/nftables.d
# The ports that service-ports.json opens on this role, as an nftables set.
{
	printf 'set services {\n\ttype inet_proto . inet_service\n\tflags interval\n\telements = {'
	sort -u "$XEROOPS_BUNDLE/ports" | awk '{printf "%s\n\t\t%s . %s", (NR > 1 ? "," : ""), $1, $2}'
	printf '\n\t}\n}\n'
} >/etc/nftables.d/services.nft
systemctl --quiet enable nftables.service
