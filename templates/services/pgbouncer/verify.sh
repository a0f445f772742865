#!/bin/sh
set -eu
"$XEROOPS_BUNDLE/scripts/starts.sh" postgres 6432 pgbouncer /etc/pgbouncer/pgbouncer.ini
