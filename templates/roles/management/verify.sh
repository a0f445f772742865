#!/bin/sh
set -eu
haproxy -c -f /etc/haproxy/haproxy.cfg
../scripts/starts.sh redis 6379 redis-server /etc/redis/redis.conf --daemonize no
