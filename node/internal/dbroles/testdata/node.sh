# shellcheck shell=sh
# Tests a database node, with management's etcd, in one network namespace. $1 is the output
# of `xeroops-node configure --sample db`, $2 the binary, $3 another output, whose
# certificates are of another authority.
set -eu
mount -t proc proc /proc # of this PID namespace
rendered=$1 binary=$2 renewed=$3
ip link set lo up
ip route add local 10.0.0.0/8 dev lo # all addresses of the sample cluster are local
sample='sample-password-not-secret-0123456789-abcde'
scratch=/run/scratch # /tmp is shared with the host
mkdir -m 0777 $scratch

mkdir -p /run/xeroops /run/postgresql /var/lib/postgresql/17
cp -a "$rendered/." /
chown postgres:postgres /run/xeroops/database.json /run/postgresql /var/lib/postgresql /var/lib/postgresql/17
chgrp postgres /run/xeroops/patroni.yml
tls=/run/xeroops/tls
chown postgres:postgres $tls/patroni.pem $tls/patroni-etcd.pem
chown etcd:etcd $tls/etcd.pem
mkdir -p /etc/patroni
ln -sf /run/xeroops/patroni.yml /etc/patroni/config.yml
install -m 0755 "$binary" /usr/bin/xeroops-node
as() { runuser -u postgres -- "$@"; }
await() { # SECONDS WHAT COMMAND...
    seconds=$1 what=$2
    shift 2
    for _ in $(seq $((seconds * 5))); do
        if "$@" >$scratch/answer 2>&1; then return; fi
        sleep 0.2
    done
    echo "waited $seconds s for $what:"
    cat $scratch/answer $scratch/patroni $scratch/pgbouncer
    exit 1
}
never() { # WHAT COMMAND...
    what=$1
    shift
    if "$@" >$scratch/answer 2>&1; then
        echo "$what:"
        cat $scratch/answer
        exit 1
    fi
}
app() { # SQL, as an application runs it
    PGPASSWORD=${password-$sample} psql -XAtq -v ON_ERROR_STOP=1 -h 10.0.2.30 -p 6432 -U app -d app -c "$1"
}
secret() { as psql -XAtqc "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'" postgres; }

# Patroni's requests, and an intruder's. Certificates are read by root.
etcdctl() { command etcdctl --endpoints https://10.0.2.30:2379 --cacert $tls/etcd-ca.pem --dial-timeout 2s --command-timeout 2s "$@"; }
rest() { # PATH CURL-OPTION...
    path=$1
    shift
    curl -sS --cacert $tls/ca.pem --resolve db1:8008:10.0.2.30 "$@" "https://db1:8008$path"
}
status() { rest "$@" -o $scratch/body -w '%{http_code}\n'; }
by() { # CERTIFICATE, with its key
    echo "--cert $tls/$1 --key $tls/$1"
}

runuser -u etcd -- mkdir $scratch/etcd
# shellcheck disable=SC2046
runuser -u etcd -- etcd --data-dir $scratch/etcd --log-level error --listen-client-urls https://0.0.0.0:2379 --advertise-client-urls https://10.0.2.30:2379 \
    --client-cert-auth --trusted-ca-file $tls/etcd-ca.pem --cert-file $tls/etcd.pem --key-file $tls/etcd.pem &
# shellcheck disable=SC2046
await 10 etcd etcdctl $(by etcd.pem) endpoint health
as patroni --validate-config /etc/patroni/config.yml
as patroni /etc/patroni/config.yml >$scratch/patroni 2>&1 &
as pgbouncer /etc/pgbouncer/pgbouncer.ini >$scratch/pgbouncer 2>&1 &
await 60 "a primary" rest /primary -f
await 10 "the application's database" app "SELECT 1"
app "CREATE TABLE greeting (text text)"
app "INSERT INTO greeting VALUES ('hello')"
test "$(app "SELECT text FROM greeting")" = hello

echo "permissions"
for file in patroni.pem patroni-etcd.pem etcd.pem; do
    never "a stranger reads $file" runuser -u nobody -- cat $tls/$file
done
never "etcd reads Patroni's certificate" runuser -u etcd -- cat $tls/patroni-etcd.pem
# What the attack wrote: PostgreSQL would run it as postgres.
attack='{"postgresql": {"parameters": {"archive_command": "touch /tmp/owned"}}}'
key=/xeroops/sample/config
# shellcheck disable=SC2046
{
    etcdctl $(by patroni-etcd.pem) get --print-value-only $key | grep synchronous_mode
    never "etcd without a certificate" etcdctl put $key "$attack"
    never "etcd with a certificate of the nodes' authority" etcdctl $(by patroni.pem) put $key "$attack"
    never "etcd without TLS" command etcdctl --endpoints http://10.0.2.30:2379 --command-timeout 2s put $key "$attack"
    never "Patroni without TLS" curl -fsS http://10.0.2.30:8008/primary
    status /restart -X POST | grep -x 403
    status /restart -X POST -u "patroni:$sample" | grep -x 403
    status /config -X PATCH -u "patroni:$sample" -d "$attack" | grep -x 403
    never "Patroni with a certificate of the nodes' authority" status /config $(by patroni.pem) -X PATCH -u "patroni:$sample" -d "$attack"
    status /restart $(by patroni-etcd.pem) -X POST | grep -x 401
    status /restart $(by patroni-etcd.pem) -X POST -u "patroni:$sample" | grep -x 200
}
await 10 "the application's database" app "SELECT 1"
patronictl -c /etc/patroni/config.yml restart --force sample db1
await 10 "the application's database" app "SELECT 1"
export PGPASSWORD=$sample
never "a wrong password" env PGPASSWORD=wrong psql -h 10.0.2.30 -p 6432 -U app -c "SELECT 1" app
never "a superuser through PgBouncer" psql -h 10.0.2.30 -p 6432 -U postgres -c "SELECT 1" postgres
never "an application that bypasses PgBouncer" psql -h 10.0.2.30 -U app -c "SELECT 1" app
never "an application that reads secrets" psql -h 10.0.2.30 -p 6432 -U app -c "SELECT pgbouncer.login('app')" postgres
psql -XAtq "host=10.0.2.30 user=rewind dbname=postgres" -c "SELECT length(pg_read_binary_file('PG_VERSION'))" | grep -x 3

echo "an unchanged password keeps its secret"
before=$(secret)
as xeroops-node database-roles on_role_change primary sample
test "$before" = "$(secret)"

echo "a changed password is set"
sed -i 's/"app": .*/"app": "another \\"password\\" é"/' /run/xeroops/database.json
as xeroops-node database-roles
password='another "password" é' app "SELECT text FROM greeting" | grep -x hello
never "the old password" app "SELECT 1"

echo "a renewed certificate is served without a restart"
served() { openssl s_client -connect 10.0.2.30:8008 </dev/null 2>/dev/null | openssl x509 -noout -serial; }
before=$(served)
began=$(ps -C patroni -o lstart=)
cat "$renewed/run/xeroops/tls/patroni.pem" >$tls/patroni.pem
cat "$renewed/run/xeroops/tls/ca.pem" >$tls/ca.pem
test "$before" = "$(served)"
pkill -HUP -x patroni
await 20 "the renewed certificate" rest /primary -f
test "$before" != "$(served)"
test "$began" = "$(ps -C patroni -o lstart=)"

echo "passwords appear in no log and no argument"
never "a log has a password" grep -rI sample-password $scratch /var/log/postgresql
never "an argument has a password" sh -c 'ps -C python3,postgres,pgbouncer,etcd -o args | grep sample-password'
