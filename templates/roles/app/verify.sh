#!/bin/sh
set -eu
python3 -c 'import elements, fastapi, httptools, psycopg, psycopg_c, psycopg_pool, redis, uvicorn, uvloop'
pip check --quiet
../scripts/starts.sh redis 6379 redis-server /etc/redis/redis.conf --daemonize no
# Applications don't reach the metadata service; what asks S3 does.
nft -f /etc/nftables.conf
ip address add 169.254.169.254/32 dev lo
../scripts/starts.sh root 80 python3 -m http.server --bind 169.254.169.254 80
reaches() { # USER
	setpriv --reuid "$1" --clear-groups --regid nogroup \
		python3 -c 'import socket; socket.create_connection(("169.254.169.254", 80), 5)' 2>/dev/null
}
for user in root xeroops-deployments xeroops-discovery; do
	reaches "$user" || { echo "$user does not reach the metadata service"; exit 1; }
done
for application in 61184 65519; do
	if reaches "$application"; then echo "applications reach the metadata service"; exit 1; fi
done
