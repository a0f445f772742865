#!/bin/sh
set -eu
python3 -c 'import elements, fastapi, httptools, psycopg, psycopg_c, psycopg_pool, redis, uvicorn, uvloop'
pip check --quiet
../scripts/starts.sh redis 6379 redis-server /etc/redis/redis.conf --daemonize no
