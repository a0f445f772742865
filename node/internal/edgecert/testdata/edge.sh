# shellcheck shell=sh
# Tests the edge in a network namespace. $1 is the output of `xeroops-node configure
# --sample openresty-lb`, $2 the role's files, and $3 an application that echoes requests.
set -eu
mount -t proc proc /proc # of this PID namespace
ip link set lo up
ip route add local 10.0.0.0/8 dev lo # all addresses of the sample cluster are local
cp -a "$1/." "$2/." /
scratch=/run/scratch # /tmp is shared with the host
mkdir $scratch
cp "$3" /run/application
application() { /run/application >$scratch/application 2>&1 & }

fail() {
    echo "$1:"
    cat $scratch/answer
    exit 1
}
get() { curl -sS -k --max-time 20 -D $scratch/headers -o $scratch/body -w '%{http_code}\n' "$@" >$scratch/status; cat $scratch/status $scratch/headers $scratch/body >$scratch/answer; }
is() { test "$(cat $scratch/status)" = "$1" || fail "want status $1"; }
header() { tr -d '\r' <$scratch/headers | grep -qixE "$1" || fail "want the header $1"; }
body() { grep -qiE -- "$1" $scratch/body || fail "want a body with $1"; }
never() { ! grep -qiE -- "$1" $scratch/body || fail "want no $1"; }
await() { # STATUS URL
    for _ in $(seq 50); do
        if get "$2" 2>$scratch/answer && test "$(cat $scratch/status)" = "$1"; then return; fi
        sleep 0.1
    done
    fail "$2 did not answer with status $1"
}
edge=https://10.0.1.10

nginx -t
nginx -g 'daemon off;' 2>$scratch/nginx &

echo "files, over TLS"
await 200 $edge/
body "The edge of this cluster is running"
header "strict-transport-security: max-age=[0-9]+"
header "x-content-type-options: nosniff"
header "x-request-id: [0-9a-f]{32}"
header "server: nginx"
get $edge/nothing
is 404
get "http://10.0.1.10/api/x?y=1"
is 308
header "location: $edge/api/x\?y=1"
curl --cacert /run/xeroops/tls/edge.crt --resolve edge:443:10.0.1.10 -sSf -o /dev/null https://edge/
! curl -k --tls-max 1.1 -sS -o /dev/null $edge/ 2>/dev/null || fail "TLS 1.1 is accepted"
curl -k --tls-max 1.2 -sSf -o /dev/null $edge/

echo "without management"
get $edge/api/x
is 502
header "content-type: application/json"
body '^\{"error":"[^"]*","request_id":"[0-9a-f]{32}"\}$'

echo "with management"
application
await 200 $edge/api/x
get $edge/api/x -H 'X-Xeroops-User: root' -H 'x-xeroops-Roles: admin' -H 'X-Request-ID: of-the-client_1' \
    -H 'X-Forwarded-For: 192.0.2.1' -H 'X-Real-IP: 192.0.2.1' -H 'Forwarded: for=192.0.2.1' -H 'X-Forwarded-Proto: http' -H 'X-Forwarded-Host: elsewhere'
is 200
never "xeroops|192\.0\.2\.1|elsewhere"
body "x-request-id: of-the-client_1"
header "x-request-id: of-the-client_1"
body "x-forwarded-for: 10.0.1.10"
body "x-forwarded-proto: https"
seq 300 | sed 's/.*/X-Many-&: 1/' >$scratch/many # ngx.req.get_headers returns 100 by default
get $edge/api/x -H @$scratch/many -H 'X-Xeroops-User: root'
is 200
body "x-many-300"
never xeroops
for id in short 'with space in it' 'quote"quote"quote' "$(printf '%065d' 0)"; do
    get $edge/api/x -H "X-Request-ID: $id"
    header "x-request-id: [0-9a-f]{32}"
done

echo "an application's own errors are passed on"
get $edge/api/status/503
is 503
body "^status 503"
echo "the size of a body is limited"
head -c 10485761 /dev/zero >$scratch/large
get $edge/api/x --data-binary @$scratch/large
is 413
truncate -s 10485760 $scratch/large
get $edge/api/x --data-binary @$scratch/large
is 200
echo "only upgrades to WebSocket are passed on"
get $edge/api/x --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
body "^upgrade: websocket"
get $edge/api/x --http1.1 -H 'Connection: Upgrade, HTTP2-Settings' -H 'Upgrade: h2c' -H 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'
never "upgrade: h2c"
never "^connection:"

echo "the log"
python3 - <<'PYTHON'
import json
lines = [json.loads(line) for line in open("/var/log/nginx/access.log")]
assert len(lines) > 10
assert lines[-1]["status"] == 200 and lines[-1]["upstream"] == "10.0.2.20:5001" and len(lines[-1]["request_id"]) == 32
PYTHON
