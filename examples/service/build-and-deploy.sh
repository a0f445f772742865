#!/bin/sh
# Builds this service and brings it onto all app nodes of the cluster; further
# arguments are xeroops deploy's, such as --cluster production.
set -eu
exec "${XEROOPS:-xeroops}" deploy "$(dirname "$0")" "$@"
