"""Connection pools to the primary and the replicas.

Applications connect through HAProxy, which routes to the primary or to a replica, and
through PgBouncer in transaction mode, which assigns a server connection per
transaction. This has three consequences; the module handles the first two:

- prepared statements must not outlive a transaction, so they are disabled;
- a pooled connection may be dead, as after a failover: if its BEGIN fails, it is
  replaced, and the next one is tried;
- session state does not work: SET without LOCAL, LISTEN, temporary tables, session
  advisory locks (`pg_advisory_xact_lock` works).
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
"""A position in the primary's write-ahead log (LSN), for `Database.replica`."""

_CATCH_UP_SECONDS = 1.0
_POLL_INTERVAL_SECONDS = 0.01

_log = logging.getLogger(__name__)


class Database:
    """Pools of connections to the primary and to the replicas. Rows are dictionaries.

    `open` does not wait for connections: an application starts without its database,
    and `/readyz` reports that. A request that gets no connection within
    `Settings.pool_timeout` fails with `psycopg_pool.PoolTimeout`, a
    `psycopg.OperationalError`, which `create_app` answers with 503.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.pool_timeout
        self._primary = _pool(settings, "primary", settings.primary_port)
        self._replica = _pool(settings, "replica", settings.replica_port, read_only=True)

    async def open(self) -> None:
        """Starts connecting in the background."""
        await self._primary.open(wait=False)
        await self._replica.open(wait=False)

    async def close(self) -> None:
        """Closes all connections; those in use are closed when they are returned."""
        await asyncio.gather(self._primary.close(), self._replica.close())

    @asynccontextmanager
    async def primary(self) -> AsyncGenerator[Connection]:
        """Yields a connection in a read-write transaction, which is committed at the
        end of the block, or rolled back if the block raises."""
        async with self._transaction(self._primary) as conn:
            try:
                yield conn
            except ReadOnlySqlTransaction as error:
                raise OperationalError("the server of this connection is no longer the primary") from error

    @asynccontextmanager
    async def replica(self, *, after: Position | None = None) -> AsyncGenerator[Connection]:
        """Yields a connection in a read-only transaction on a replica.

        Replicas lag by some milliseconds. With `after`, the transaction sees
        everything committed before that position: it waits for the replica, and uses
        the primary if the replica needs more than a second or is unavailable.
        """
        async with AsyncExitStack() as stack:
            conn: Connection | None = None
            try:
                conn = await stack.enter_async_context(self._transaction(self._replica))
                if after is not None and not await _caught_up(conn, after):
                    _log.warning("replica lags; reading from the primary")
                    conn = None
            except OperationalError as error:
                if after is None:
                    raise
                _log.warning("replica unavailable; reading from the primary", extra={"reason": str(error)})
                conn = None
            if conn is None:
                conn = await stack.enter_async_context(self._transaction(self._primary))
                await conn.execute("SET TRANSACTION READ ONLY")
            yield conn

    async def position(self) -> Position:
        """Returns the primary's current position, which follows the writes of every
        transaction that has ended."""
        async with self.primary() as conn:
            row = await (await conn.execute("SELECT pg_current_wal_lsn()::text AS lsn")).fetchone()
        assert row is not None  # the query always returns one
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
        """Yields a connection whose BEGIN succeeded, so it is alive. (The pool's own
        check would cost a round trip, and pause for a second after each dead
        connection.)"""
        async with AsyncExitStack() as stack:
            conn = await self._begin(pool, stack)
            yield conn

    async def _begin(self, pool: Pool, stack: AsyncExitStack) -> Connection:
        deadline = monotonic() + self._timeout
        while True:
            conn = await pool.getconn(max(deadline - monotonic(), 0))
            # While PgBouncer has no server, it would keep a client waiting for longer.
            timer = asyncio.get_running_loop().call_later(max(deadline - monotonic(), 0), _shut_down, conn)
            transaction = conn.transaction()
            try:
                await transaction.__aenter__()
            except OperationalError as error:
                _log.info("replacing dead connection", extra={"pool": pool.name, "reason": str(error)})
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
    """Shuts down a connection's socket, so that a pending query fails at once.
    Cancelling the task would send a cancel request to the server and wait for it."""
    if conn.closed:
        return
    with socket.socket(fileno=os.dup(conn.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def _pool(settings: Settings, name: str, port: int, *, read_only: bool = False) -> Pool:
    async def configure(conn: Connection) -> None:
        await conn.set_autocommit(True)  # _begin sends BEGIN itself
        await conn.set_read_only(read_only)  # sent with BEGIN, so PgBouncer's mode allows it

    return AsyncConnectionPool(
        kwargs={
            "host": settings.database_host,
            "port": port,
            "dbname": settings.database_name,
            "user": settings.database_user,
            "password": settings.database_password.get_secret_value(),
            "application_name": settings.application,
            # Detect a dead host within 5 to 10 s instead of minutes.
            "connect_timeout": 3,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
            "tcp_user_timeout": 10_000,
            # Prepared statements belong to a server session, which PgBouncer may change.
            "prepare_threshold": None,
            "row_factory": dict_row,
        },
        connection_class=AsyncConnection[DictRow],
        name=name,
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        timeout=settings.pool_timeout,
        # Background reconnects back off from 1 s, doubling. After 2 s they end, and the next
        # request triggers another.
        reconnect_timeout=2.0,
        # Reconnecting spreads connections over nodes that have joined.
        max_lifetime=600.0,
        max_idle=120.0,
        configure=configure,
        open=False,
    )


async def _caught_up(conn: Connection, position: Position) -> bool:
    """Waits until the server has replayed the position; a primary always has. Returns
    False after a timeout."""
    deadline = monotonic() + _CATCH_UP_SECONDS
    while True:
        cursor = await conn.execute(
            "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= %s::pg_lsn AS replayed", (position,)
        )
        row = await cursor.fetchone()
        if row is not None and row["replayed"]:
            return True
        if monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_INTERVAL_SECONDS)
