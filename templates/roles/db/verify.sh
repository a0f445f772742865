#!/bin/sh
set -eu
/usr/lib/postgresql/17/bin/postgres --version
pgbackrest version
if test "${XEROOPS_BACKUP_ENGINE:-pgbackrest}" = wal-g; then
	/usr/local/bin/wal-g --version
fi
test "$(id -u postgres)" = 800
test -z "$(pg_lsclusters -h)" # Patroni makes the cluster
for unit in postgresql.service postgresql@.service; do
	test "$(readlink "/etc/systemd/system/$unit")" = /dev/null
done
# The validator wants to reach etcd.
../scripts/starts.sh etcd 2379 etcd --data-dir "$(runuser -u etcd -- mktemp -d)" \
	--listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://127.0.0.1:2379
if test -e /etc/patroni/config.yml; then
	patroni --validate-config /etc/patroni/config.yml
fi
../scripts/starts.sh postgres 6432 pgbouncer /etc/pgbouncer/pgbouncer.ini
