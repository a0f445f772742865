#!/bin/sh
# Waits until the database answers a query.
exec /usr/bin/xeroops-node wait-for-db "$@"
