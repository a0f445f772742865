#!/bin/sh
set -eu
pgbackrest version
if test "${XEROOPS_BACKUP_ENGINE:-pgbackrest}" = wal-g; then
	/usr/local/bin/wal-g --version
fi
