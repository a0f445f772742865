#!/bin/sh
set -eu
"$XEROOPS_BUNDLE/scripts/starts.sh" redis 6379 redis-server /etc/redis/redis.conf --daemonize no
