#!/bin/sh
set -eu
# It keeps running until the checks end: Patroni's validator connects to it.
"$XEROOPS_BUNDLE/scripts/starts.sh" etcd 2379 etcd --data-dir "$(runuser -u etcd -- mktemp -d)" \
	--listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://127.0.0.1:2379
