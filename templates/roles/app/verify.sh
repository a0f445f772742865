#!/bin/sh
set -eu
python3 -c 'import fastapi, httptools, psycopg, psycopg_c, psycopg_pool, redis, uvicorn, uvloop'
if test -e /usr/share/xeroops/elements/pyproject.toml; then
	python3 -c 'import elements'
fi
pip check --quiet
../scripts/starts.sh redis 6379 redis-server /etc/redis/redis.conf --daemonize no
