"""Connection pools to the primary and the replicas.

An application reaches PostgreSQL through HAProxy, which knows who is primary, and
PgBouncer in transaction mode, which lends a server connection for one transaction
at a time. Three things follow, and the first two are taken care of here:

- no prepared statements that outlive a transaction;
- a connection may be dead when it is taken, as after a failover: if its BEGIN
  fails, it is replaced, and the next one is taken;
- nothing that lives in the session works: SET without LOCAL, LISTEN, temporary
  tables, session advisory locks (`pg_advisory_xact_lock` is fine).
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import NewType

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from elements.settings import Settings

type Connection = AsyncConnection[DictRow]
type Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

Position = NewType("Position", str)
"""A place in the primary's write-ahead log, to give to `Database.replica`."""

_CATCH_UP_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.01

_log = logging.getLogger(__name__)


class Database:
    """The two pools. Rows are dictionaries.

    Opening them does not wait: an application starts without its database, and
    `/readyz` says that it is away. A request that gets no connection within
    `Settings.pool_timeout` fails with `psycopg_pool.PoolTimeout`, a
    `psycopg.OperationalError`, which `create_app` answers with 503.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.pool_timeout
        self._primary = _pool(settings, "primary", settings.primary_port)
        self._replica = _pool(settings, "replica", settings.replica_port, read_only=True)

    async def open(self) -> None:
        """Begins to connect, in the background."""
        await self._primary.open(wait=False)
        await self._replica.open(wait=False)

    async def close(self) -> None:
        """Closes all connections; those in use when they are given back."""
        await asyncio.gather(self._primary.close(), self._replica.close())

    @asynccontextmanager
    async def primary(self) -> AsyncGenerator[Connection]:
        """A connection for one transaction that may write: it is committed at the
        end of the block, and rolled back if an exception leaves it."""
        async with self._transaction(self._primary) as conn:
            try:
                yield conn
            except ReadOnlySqlTransaction as error:
                raise OperationalError("the primary of this connection is a replica by now") from error

    @asynccontextmanager
    async def replica(self, *, after: Position | None = None) -> AsyncGenerator[Connection]:
        """A connection for one transaction that reads, from a replica.

        A replica is some milliseconds behind. With `after`, what was committed
        before that position is seen: the replica is waited for, and if it takes
        longer than a second or is away, the primary is read.
        """
        async with AsyncExitStack() as stack:
            conn: Connection | None = None
            try:
                conn = await stack.enter_async_context(self._transaction(self._replica))
                if after is not None and not await _caught_up(conn, after):
                    _log.warning("the replica is behind; the primary is read")
                    conn = None
            except OperationalError as error:
                if after is None:
                    raise
                _log.warning("the replica can't be read; the primary is", extra={"reason": str(error)})
                conn = None
            if conn is None:
                conn = await stack.enter_async_context(self._transaction(self._primary))
                await conn.execute("SET TRANSACTION READ ONLY")
            yield conn

    async def position(self) -> Position:
        """Where the primary's log is now. Taken after a transaction has ended, it
        is after what that wrote."""
        async with self.primary() as conn:
            row = await (await conn.execute("SELECT pg_current_wal_lsn()::text AS lsn")).fetchone()
        assert row is not None  # the query always has one
        return Position(row["lsn"])

    async def check_primary(self) -> None:
        """Raises if the primary does not answer."""
        async with self.primary() as conn:
            await conn.execute("SELECT 1")

    async def check_replica(self) -> None:
        """Raises if no replica answers."""
        async with self.replica() as conn:
            await conn.execute("SELECT 1")

    @asynccontextmanager
    async def _transaction(self, pool: Pool) -> AsyncGenerator[Connection]:
        """A transaction on a connection that is known to work, for its BEGIN came
        through. (The pool's own check costs a round trip more, and pauses for a
        second after each dead connection that it finds.)"""
        async with AsyncExitStack() as stack:
            conn = await self._begin(pool, stack)
            yield conn

    async def _begin(self, pool: Pool, stack: AsyncExitStack) -> Connection:
        deadline = monotonic() + self._timeout
        while True:
            conn = await pool.getconn(max(deadline - monotonic(), 0))
            # PgBouncer keeps a client waiting for two minutes while it has no server.
            timer = asyncio.get_running_loop().call_later(max(deadline - monotonic(), 0), _shut_down, conn)
            transaction = conn.transaction()
            try:
                await transaction.__aenter__()
            except OperationalError as error:
                _log.info("a connection was dead", extra={"pool": pool.name, "reason": str(error)})
                await conn.close()
                await pool.putconn(conn)  # which replaces it
            except BaseException:
                await pool.putconn(conn)
                raise
            else:
                stack.push_async_callback(pool.putconn, conn)
                stack.push_async_exit(transaction)
                return conn
            finally:
                timer.cancel()


def _shut_down(conn: Connection) -> None:
    """Ends a connection under whoever waits for its answer, who then gets an error.
    Cancelling the wait would ask the server to cancel, and wait for that."""
    if conn.closed:
        return
    with socket.socket(fileno=os.dup(conn.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def _pool(settings: Settings, name: str, port: int, *, read_only: bool = False) -> Pool:
    async def configure(conn: Connection) -> None:
        await conn.set_autocommit(True)  # BEGIN is ours to say
        await conn.set_read_only(read_only)  # said with BEGIN, so it is the transaction's

    return AsyncConnectionPool(
        kwargs={
            "host": settings.database_host,
            "port": port,
            "dbname": settings.database_name,
            "user": settings.database_user,
            "password": settings.database_password.get_secret_value(),
            "application_name": settings.application,
            # A host that is gone answers nothing: notice within 5 to 10 s, not minutes.
            "connect_timeout": 3,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 10_000,
            # Prepared statements live in the session, which is not ours for long.
            "prepare_threshold": None,
            "row_factory": dict_row,
        },
        connection_class=AsyncConnection[DictRow],
        name=name,
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        timeout=settings.pool_timeout,
        # After each try in the background the pause doubles, from a second on; two
        # such, and the next try is with the next request.
        reconnect_timeout=2.0,
        # A new connection may be to a node that HAProxy has come to prefer.
        max_lifetime=600.0,
        max_idle=120.0,
        configure=configure,
        open=False,
    )


async def _caught_up(conn: Connection, position: Position) -> bool:
    """Waits until the server has replayed a position, which a primary always has."""
    deadline = monotonic() + _CATCH_UP_SECONDS
    while True:
        cursor = await conn.execute(
            "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= %s::pg_lsn AS there", (position,)
        )
        row = await cursor.fetchone()
        if row is not None and row["there"]:
            return True
        if monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
