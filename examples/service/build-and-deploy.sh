#!/bin/sh
# Builds this service and deploys it to all app nodes of the cluster. Arguments are
# passed to xeroops deploy, such as --cluster production.
set -eu
exec "${XEROOPS:-xeroops}" deploy "$(dirname "$0")" "$@"
