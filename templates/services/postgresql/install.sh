#!/bin/sh
set -eu
# Patroni starts PostgreSQL; Debian's units would start a cluster of their own.
for unit in postgresql.service postgresql@.service; do
	ln -sf /dev/null "/etc/systemd/system/$unit"
done
