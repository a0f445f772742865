#!/bin/sh
set -eu
# Starting wg0 takes the kernel module or the device that wireguard-go opens; without
# both, only the syntax is checked.
if ip link add probe type wireguard 2>/dev/null || test -c /dev/net/tun; then
	wg-quick up wg0 >/tmp/wg-quick.log 2>&1 || {
		cat /tmp/wg-quick.log
		exit 1
	}
	test "udp $(wg show wg0 listen-port)-$(wg show wg0 listen-port)" = "$(cat ports)"
else
	wg-quick strip wg0 >/dev/null
	nft -c -f /run/xeroops/vpn.nft
fi
