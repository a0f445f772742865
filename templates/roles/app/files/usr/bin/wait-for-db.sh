#!/bin/sh
# Waits until the database answers a query, for what can't start without it.
exec /usr/bin/xeroops-node wait-for-db "$@"
