"""Real servers for tests: PostgreSQL with a replica, PgBouncer before each, Redis."""

import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable

import psycopg

POSTGRES = pathlib.Path("/usr/lib/postgresql/17/bin")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def until(met: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Polls a condition until it holds; it may raise until then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if met():
                return
            why = ""
        except (OSError, psycopg.Error) as error:
            why = str(error)
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s {why}"
        time.sleep(0.02)


class PostgreSQL:
    """A PostgreSQL server on its own port."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory, self.port = directory, free_port()

    def start(self) -> None:
        run(
            POSTGRES / "pg_ctl", "-w", "-D", self.directory, "-l", f"{self.directory}.log", "start",
            "-o", f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off",
        )  # fmt: skip

    def stop(self, mode: str) -> None:
        run(POSTGRES / "pg_ctl", "-w", "-D", self.directory, "-m", mode, "stop")

    def admin(self, query: str) -> None:
        """Runs a query as the superuser, bypassing PgBouncer."""
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres", autocommit=True) as conn:
            conn.execute(query.encode())


class PgBouncer:
    """PgBouncer in transaction mode, as on db nodes, in front of one PostgreSQL."""

    def __init__(self, directory: pathlib.Path, server: PostgreSQL) -> None:
        self.port = free_port()
        self.ini = directory / f"pgbouncer-{self.port}.ini"
        self.ini.write_text(
            f"""[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users.txt
pool_mode = transaction
default_pool_size = 4
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
"""
        )
        (directory / "users.txt").write_text('"app" ""\n')
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["pgbouncer", "-q", self.ini])
        until(lambda: socket.create_connection(("127.0.0.1", self.port)).close() is None, "PgBouncer listens")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}"


def redis(directory: pathlib.Path, port: int, keys: str) -> subprocess.Popen[bytes]:
    acl = directory / f"users-{port}.acl"
    acl.write_text(f"user default off\nuser app on >secret {keys} +@all -@admin -@dangerous -client|setinfo\n")
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", directory, "--aclfile", acl], stdout=subprocess.DEVNULL
    )
    until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, "Redis listens")
    return process


def missing() -> str:
    """Returns why the servers can't run here; empty if they can."""
    if not POSTGRES.exists() or not shutil.which("pgbouncer") or not shutil.which("redis-server"):
        return "needs Debian 13's PostgreSQL, PgBouncer and Redis"
    return "PostgreSQL doesn't run as root" if os.getuid() == 0 else ""


class Servers:
    """All servers, and the environment for connecting to them."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.primary = PostgreSQL(directory / "primary")
        run(POSTGRES / "initdb", "-D", self.primary.directory, "--auth=trust", "--no-sync", "-U", "postgres")
        self.primary.start()
        self.primary.admin("CREATE ROLE app LOGIN")
        self.primary.admin("CREATE DATABASE app OWNER app")
        self.replica = PostgreSQL(directory / "replica")
        run(
            POSTGRES / "pg_basebackup", "-D", self.replica.directory, "-R", "-c", "fast", "--no-sync",
            "-d", f"host=127.0.0.1 port={self.primary.port} user=postgres",
        )  # fmt: skip
        self.replica.start()
        self.bouncer = PgBouncer(directory, self.primary)
        self.replica_bouncer = PgBouncer(directory, self.replica)
        self.redis_port, self.queue_port = free_port(), free_port()
        # As on management, and as on app nodes.
        self.redis = [redis(directory, self.redis_port, "~app:* &app:*"), redis(directory, self.queue_port, "~* &*")]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "XEROOPS_APPLICATION": "notes",
            "XEROOPS_VERSION": "1.2.3",
            "XEROOPS_NODE": "app1",
            "XEROOPS_ROUTE_PREFIX": "/api/notes",
            "DATABASE_HOST": "127.0.0.1",
            "PRIMARY_PORT": str(self.bouncer.port),
            "REPLICA_PORT": str(self.replica_bouncer.port),
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.redis_port),
            "REDIS_APP_PASSWORD": "secret",
            "QUEUE_PORT": str(self.queue_port),
        }

    def stop(self) -> None:
        for redis in self.redis:
            redis.kill()
            redis.wait()
        self.bouncer.stop()
        self.replica_bouncer.stop()
        self.replica.stop("immediate")
        self.primary.stop("immediate")
