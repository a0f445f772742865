#!/bin/sh
set -eu
/usr/lib/postgresql/17/bin/postgres --version
test "$(id -u postgres)" = 800
test -z "$(pg_lsclusters -h)" # Patroni creates the cluster
for unit in postgresql.service postgresql@.service; do
	test "$(readlink "/etc/systemd/system/$unit")" = /dev/null
done
# The validator connects to etcd, which etcd's own check has started.
patroni --validate-config /etc/patroni/config.yml
