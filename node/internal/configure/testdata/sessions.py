"""Tests what PgBouncer lets clients see of each other, with one connection to the server."""

import time

import psycopg

failures = []


def check(what, condition, found):
    print("ok  " if condition else "FAIL", what, found)
    if not condition:
        failures.append(what)


def connect(**options):
    return psycopg.connect("host=127.0.0.1 port=6432 user=app dbname=app", autocommit=True, **options)


def one(conn, query):
    return conn.execute(query).fetchone()[0]


deadline = time.monotonic() + 30
while True:
    try:
        connect().close()
        break
    except psycopg.OperationalError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.05)

for option in ("statement_timeout=1234", "search_path=zz", "default_transaction_read_only=on"):
    try:
        found = one(connect(options="-c " + option), "SHOW " + option.split("=")[0])
        check("startup option " + option, found == option.split("=")[1], found)
    except psycopg.OperationalError as error:
        check("startup option " + option, "options" in str(error) or option.split("=")[0] in str(error), str(error).strip())

a, b = connect(), connect()
assert one(a, "SELECT pg_backend_pid()") == one(b, "SELECT pg_backend_pid()")
for name, value in {"search_path": "leaked", "statement_timeout": "777ms", "role": "other", "timezone": "Asia/Tokyo"}.items():
    before = one(b, f"SHOW {name}")
    a.execute(f"SET {name} = '{value}'")
    after = one(b, f"SHOW {name}")
    check("SET " + name, after == before, after)
a.execute("CREATE TEMP TABLE mine (x int)")
check("temporary table", one(b, "SELECT to_regclass('mine')") is None, "")
a.execute("SELECT pg_advisory_lock(42)")
check("session lock", one(b, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0, "")
a.execute("LISTEN news")
check("LISTEN", one(b, "SELECT count(*) FROM pg_listening_channels()") == 0, "")
a.execute("PREPARE mine AS SELECT 1")
check("PREPARE", one(b, "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'") == 0, "")

a.close()
old = connect(prepare_threshold=0)
old.execute("CREATE TABLE notes (x int)")
for _ in range(3):
    old.execute("SELECT * FROM notes").fetchall()
b.execute("ALTER TABLE notes ADD y int")
for name, conn in {"an old client": old, "a new client": connect(prepare_threshold=0)}.items():
    try:
        for _ in range(3):
            conn.execute("SELECT * FROM notes").fetchall()
        check("prepared SELECT * of " + name, True, "")
    except psycopg.Error as error:
        check("prepared SELECT * of " + name, False, error)

idle = connect()
idle.execute("BEGIN")
idle.execute("SELECT 1")
try:
    check("an idle transaction ends", one(b, "SELECT 1") == 1, "")
except psycopg.Error as error:
    check("an idle transaction ends", False, error)

if failures:
    raise SystemExit(f"failed: {failures}")
