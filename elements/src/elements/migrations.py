"""Migrations: SQL files, each applied once, in the order of their names.

The first process applies them in one transaction; other processes, on any node, wait
for it. During a deployment the previous version still runs, so a migration may only
make changes that it tolerates. Remove columns and tables in a later version.
"""

import hashlib
import logging
from importlib.resources.abc import Traversable

from elements.database import Connection, Database
from elements.settings import Settings

_log = logging.getLogger(__name__)

_TABLE = """
CREATE TABLE IF NOT EXISTS elements_migrations (
    application text NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (application, name)
)"""


class MigrationError(Exception):
    """A migration was changed after it was applied."""


async def migrate(database: Database, settings: Settings, directory: Traversable) -> list[str]:
    """Applies the files NAME.sql in a directory that have not been applied yet, all or
    none of them, and returns their names:

        await migrate(db, settings, importlib.resources.files("notes") / "migrations")
    """
    files = sorted((file for file in directory.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    applied: list[str] = []
    async with database.primary() as conn:
        # A transaction-level lock, because PgBouncer runs in transaction mode. Without it,
        # concurrent CREATE TABLE IF NOT EXISTS could fail.
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('elements_migrations'))")
        await conn.execute(_TABLE)
        known = await _known(conn, settings.application)
        for file in files:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if known.get(file.name) == digest:
                continue
            if file.name in known:
                raise MigrationError(f"{file.name} was changed after it was applied; restore it, and add the change as another file")
            await conn.execute(content)
            await conn.execute(
                "INSERT INTO elements_migrations (application, name, sha256) VALUES (%s, %s, %s)",
                (settings.application, file.name, digest),
            )
            applied.append(file.name)
    if applied:
        _log.info("migrations applied", extra={"migrations": applied})
    return applied


async def _known(conn: Connection, application: str) -> dict[str, str]:
    cursor = await conn.execute("SELECT name, sha256 FROM elements_migrations WHERE application = %s", (application,))
    return {row["name"]: row["sha256"] async for row in cursor}
