# shellcheck shell=sh
# Starts PostgreSQL and PgBouncer with the configuration of a db node in $1, without
# passwords, and runs the Python program $2.
set -eu
mount -t proc proc /proc # of this PID namespace
ip link set lo up
data=/run/postgresql/data
mkdir -p /run/postgresql
chown postgres /run/postgresql
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
as /usr/lib/postgresql/17/bin/initdb -D $data --auth=trust --no-sync -U postgres >/dev/null
as /usr/lib/postgresql/17/bin/pg_ctl -w -D $data -l /run/postgresql/log start -o "-c unix_socket_directories=/run/postgresql -c fsync=off" >/dev/null
psql -q -h /run/postgresql -U postgres -c "CREATE ROLE app LOGIN" -c "CREATE ROLE other" -c "GRANT other TO app" -c "CREATE DATABASE app OWNER app"
echo '"app" ""' >/run/postgresql/users
sed -e 's/^auth_type = .*/auth_type = trust/' -e '/^auth_\(user\|dbname\|query\) =/d' -e 's,^max_db_connections = .*,auth_file = /run/postgresql/users,' \
    -e 's/^default_pool_size = .*/default_pool_size = 1/' -e 's/^idle_transaction_timeout = .*/idle_transaction_timeout = 1/' \
    -e 's/^query_wait_timeout = .*/query_wait_timeout = 10/' "$1/etc/pgbouncer/pgbouncer.ini" >/run/postgresql/pgbouncer.ini
as pgbouncer /run/postgresql/pgbouncer.ini 2>/run/postgresql/pgbouncer.log &
cp "$2" /run/program.py
python3 /run/program.py || { cat /run/postgresql/pgbouncer.log; exit 1; }
