#!/bin/sh
# starts.sh USER PORT COMMAND...: used by verify.sh of a service. Runs the command as that
# user and succeeds once it listens on the TCP port, within 20 seconds. The command keeps
# running until all checks have ended.
set -eu
user=$1 port=$2
shift 2
log=$(mktemp)
runuser -u "$user" -- "$@" >"$log" 2>&1 &
pid=$!
for _ in $(seq 200); do
    if test -n "$(ss -Hltn "sport = :$port")"; then exit 0; fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
echo "$1 is not listening on port $port:"
tail -n 20 "$log"
exit 1
