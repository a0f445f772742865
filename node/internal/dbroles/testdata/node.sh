# shellcheck shell=sh
# Tests a database node, with management's etcd, in one network namespace. $1 is the output
# of `xeroops-node configure --sample db`, $2 the binary.
set -eu
mount -t proc proc /proc # of this PID namespace
rendered=$1 binary=$2
ip link set lo up
ip route add local 10.0.0.0/8 dev lo # all addresses of the sample cluster are local
sample='sample-password-not-secret-0123456789-abcde'
scratch=/run/scratch # /tmp is shared with the host
mkdir -m 0777 $scratch

mkdir -p /run/xeroops /run/postgresql /var/lib/postgresql/17
cp -a "$rendered/." /
chown postgres:postgres /run/xeroops/database.json /run/postgresql /var/lib/postgresql /var/lib/postgresql/17
chgrp postgres /run/xeroops/patroni.yml
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

as mkdir $scratch/etcd
as etcd --data-dir $scratch/etcd --log-level error --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://10.0.2.20:2379 &
await 10 etcd etcdctl --endpoints 10.0.2.20:2379 endpoint health
as patroni --validate-config /etc/patroni/config.yml
as patroni /etc/patroni/config.yml >$scratch/patroni 2>&1 &
as pgbouncer /etc/pgbouncer/pgbouncer.ini >$scratch/pgbouncer 2>&1 &
await 60 "a primary" curl -fsS http://10.0.2.30:8008/primary
await 10 "the application's database" app "SELECT 1"
app "CREATE TABLE greeting (text text)"
app "INSERT INTO greeting VALUES ('hello')"
test "$(app "SELECT text FROM greeting")" = hello

echo "permissions"
curl -sS -o /dev/null -w '%{http_code}\n' -X POST http://10.0.2.30:8008/restart | grep -x 401
curl -sS -o /dev/null -w '%{http_code}\n' -X POST -u "patroni:$sample" http://10.0.2.30:8008/restart | grep -x 200
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

echo "passwords appear in no log and no argument"
never "a log has a password" grep -rI sample-password $scratch /var/log/postgresql
never "an argument has a password" sh -c 'ps -C python3,postgres,pgbouncer,etcd -o args | grep sample-password'
