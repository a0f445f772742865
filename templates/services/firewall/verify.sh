#!/bin/sh
set -eu
nft -c -f /etc/nftables.conf
test "$(systemctl is-enabled nftables.service)" = enabled
