"""Writes rows as an application does, for so many seconds, and reports whether one that
was acknowledged is lost and how long nothing could be written. Runs on an app node."""

import json
import sys
import time

import psycopg

seconds = float(sys.argv[1])


def connect(port):
    return psycopg.connect(host="management", port=port, user="app", dbname="app", connect_timeout=2,
                           autocommit=True, prepare_threshold=None)


acknowledged, gap, gap_at, last, errors = set(), 0.0, 0.0, time.time(), {}
end = last + seconds
while time.time() < end:
    try:
        with connect(5432) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS written (id bigserial PRIMARY KEY)")
            while time.time() < end:
                (row,) = connection.execute("INSERT INTO written DEFAULT VALUES RETURNING id").fetchone()
                now = time.time()
                if now - last > gap:
                    gap, gap_at = now - last, last
                last = now
                acknowledged.add(row)
                time.sleep(0.005)
    except psycopg.Error as e:
        errors[str(e).splitlines()[0][:150]] = errors.get(str(e).splitlines()[0][:150], 0) + 1
        time.sleep(0.1)
for _ in range(300):
    try:
        with connect(5432) as connection:
            there = {row for (row,) in connection.execute("SELECT id FROM written")}
            break
    except psycopg.Error:
        time.sleep(0.2)
print(json.dumps({"acknowledged": len(acknowledged), "lost": len(acknowledged - there), "gap_seconds": round(gap, 2), "errors": errors}))
