#!/bin/sh
set -eu
if test -e /etc/wireguard/wg0.conf; then
	wg-quick strip wg0 >/dev/null
fi
