#!/bin/sh
set -eu
python3 -c 'import elements, fastapi, httptools, psycopg, psycopg_c, psycopg_pool, redis, uvicorn, uvloop'
pip check --quiet
# Applications can't reach the metadata service; daemons that use S3 can.
nft -f /etc/nftables.conf
ip address add 169.254.169.254/32 dev lo
"$XEROOPS_BUNDLE/scripts/starts.sh" root 80 python3 -m http.server --bind 169.254.169.254 80
reaches() { # USER
	setpriv --reuid "$1" --clear-groups --regid nogroup \
		python3 -c 'import socket; socket.create_connection(("169.254.169.254", 80), 5)' 2>/dev/null
}
for user in root xeroops-deployments xeroops-discovery; do
	reaches "$user" || { echo "$user can't reach the metadata service"; exit 1; }
done
for application in 61184 65519; do
	if reaches "$application"; then echo "UID $application, an application's, can reach the metadata service"; exit 1; fi
done
