import asyncio
import pathlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from servers import Servers

from elements import Database, MigrationError, Position, Settings, migrate

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    db = Database(settings)
    await db.open()
    try:
        yield db
    finally:
        await db.close()


async def fresh_table(db: Database) -> None:
    async with db.primary() as conn:
        await conn.execute("DROP TABLE IF EXISTS things")
        await conn.execute("CREATE TABLE things (name text)")


async def add(db: Database, name: str) -> None:
    async with db.primary() as conn:
        await conn.execute("INSERT INTO things VALUES (%s)", (name,))


async def names(db: Database, after: Position | None = None) -> list[str]:
    async with db.replica(after=after) as conn:
        return [row["name"] async for row in await conn.execute("SELECT name FROM things ORDER BY name")]


async def until_works(db: Database, name: str, seconds: float = 15) -> int:
    """Inserts a row, retrying until that succeeds, and returns the number of failures."""
    failed = 0
    async with asyncio.timeout(seconds):
        while True:
            try:
                await add(db, name)
                return failed
            except psycopg.OperationalError:
                failed += 1
                await asyncio.sleep(0.05)


async def test_a_replica_read_after_a_position_sees_the_write(settings: Settings) -> None:
    async with database(settings) as db:
        await fresh_table(db)
        for number in range(20):
            await add(db, f"{number:02}")
            assert len(await names(db, await db.position())) == number + 1
        async with db.replica() as conn:
            row = await (await conn.execute("SELECT pg_is_in_recovery() AS replica")).fetchone()
        assert row == {"replica": True}


async def test_reads_use_the_primary_while_the_replica_lags(settings: Settings, servers: Servers) -> None:
    async with database(settings) as db:
        await fresh_table(db)
        await names(db, await db.position())
        servers.replica.admin("SELECT pg_wal_replay_pause()")
        try:
            await add(db, "new")
            assert await names(db) == []
            assert await names(db, await db.position()) == ["new"]
        finally:
            servers.replica.admin("SELECT pg_wal_replay_resume()")


async def test_reads_use_the_primary_while_the_replica_is_unavailable(settings: Settings) -> None:
    async with database(settings.model_copy(update={"replica_port": 1, "pool_timeout": 0.5})) as db:
        await fresh_table(db)
        await add(db, "one")
        assert await names(db, await db.position()) == ["one"]
        with pytest.raises(psycopg.OperationalError):
            await names(db)


async def test_the_replica_pool_refuses_writes(settings: Settings) -> None:
    # Without a replica, HAProxy routes to the primary.
    async with database(settings.model_copy(update={"replica_port": settings.primary_port})) as db:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            async with db.replica() as conn:
                await conn.execute("CREATE TABLE other ()")
        async with db.primary() as conn:  # PgBouncer may give it the same server connection
            await conn.execute("CREATE TEMPORARY TABLE other () ON COMMIT DROP")


async def test_a_demoted_primary_counts_as_unavailable(settings: Settings) -> None:
    async with database(settings) as db:
        with pytest.raises(psycopg.OperationalError):
            async with db.primary() as conn:
                await conn.execute("SET TRANSACTION READ ONLY")  # as every transaction there is
                await conn.execute("CREATE TABLE other ()")


async def test_an_exception_rolls_back(settings: Settings) -> None:
    async with database(settings) as db:
        await fresh_table(db)
        with pytest.raises(RuntimeError):
            async with db.primary() as conn:
                await conn.execute("INSERT INTO things VALUES ('half')")
                raise RuntimeError
        assert await names(db, await db.position()) == []


async def test_many_clients_share_few_server_connections_without_prepared_statements(settings: Settings) -> None:
    # PgBouncer has four; a statement that psycopg prepared on one would be unknown to another.
    async with database(settings) as db:
        await fresh_table(db)
        for _ in range(8):
            await asyncio.gather(*(add(db, "x") for _ in range(50)))
        assert len(await names(db, await db.position())) == 400


async def test_no_request_fails_after_pgbouncer_is_restarted(settings: Settings, servers: Servers) -> None:
    async with database(settings.model_copy(update={"pool_min": 4})) as db:
        await fresh_table(db)
        await asyncio.gather(*(add(db, "before") for _ in range(20)))
        servers.bouncer.stop()
        servers.bouncer.start()
        for _ in range(10):
            await add(db, "after")


async def test_connections_recover_after_a_crash_of_the_database(settings: Settings, servers: Servers) -> None:
    async with database(settings) as db:
        await fresh_table(db)
        await add(db, "before")
        servers.primary.stop("immediate")
        # PgBouncer would keep it waiting for two minutes.
        async with asyncio.timeout(settings.pool_timeout + 3):
            with pytest.raises(psycopg.OperationalError):
                await add(db, "meanwhile")
        servers.primary.start()
        await until_works(db, "after")


async def test_open_does_not_wait_for_the_database(settings: Settings) -> None:
    away = settings.model_copy(update={"primary_port": 1, "pool_timeout": 0.2})
    async with asyncio.timeout(3), database(away) as db:
        with pytest.raises(psycopg.OperationalError):
            await db.check_primary()


def write(directory: pathlib.Path, **files: str) -> pathlib.Path:
    for name, content in files.items():
        (directory / f"{name}.sql").write_text(content)
    return directory


async def test_concurrent_migrations_are_applied_once(settings: Settings, tmp_path: pathlib.Path) -> None:
    settings = settings.model_copy(update={"application": "at-once"})
    directory = write(tmp_path, a="CREATE TABLE m1 (n int); INSERT INTO m1 VALUES (1);", b="INSERT INTO m1 VALUES (2)")
    async with database(settings) as db, database(settings) as other:
        applied = await asyncio.gather(*(migrate(d, settings, directory) for d in (db, other) * 4))
        assert sorted(applied, key=len)[-1] == ["a.sql", "b.sql"]
        assert [a for a in applied if a] == [["a.sql", "b.sql"]]
        async with db.primary() as conn:
            rows = await (await conn.execute("SELECT n FROM m1 ORDER BY n")).fetchall()
        assert [row["n"] for row in rows] == [1, 2]


async def test_a_failed_migration_is_rolled_back(settings: Settings, tmp_path: pathlib.Path) -> None:
    settings = settings.model_copy(update={"application": "fails"})
    directory = write(tmp_path, a="CREATE TABLE m2 ()", b="CREATE NONSENSE")
    async with database(settings) as db:
        with pytest.raises(psycopg.errors.SyntaxError):
            await migrate(db, settings, directory)
        write(tmp_path, b="DROP TABLE m2")
        assert await migrate(db, settings, directory) == ["a.sql", "b.sql"]


async def test_a_changed_migration_is_refused(settings: Settings, tmp_path: pathlib.Path) -> None:
    settings = settings.model_copy(update={"application": "changed"})
    async with database(settings) as db:
        assert await migrate(db, settings, write(tmp_path, a="CREATE TABLE m3 ()")) == ["a.sql"]
        with pytest.raises(MigrationError, match=r"a\.sql was changed"):
            await migrate(db, settings, write(tmp_path, a="CREATE TABLE m3 (n int)"))
