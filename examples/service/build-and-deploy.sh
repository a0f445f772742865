#!/usr/bin/env bash
# Builds this service and brings it onto all app nodes of the cluster; further
# arguments are xeroops deploy's, such as --cluster production.
set -euo pipefail
exec "${XEROOPS:-xeroops}" deploy "$(dirname "$0")" "$@"
