"""Migrations: SQL files that are applied once each, in the order of their names.

Whichever process comes first applies them, in one transaction; all others wait for
it, on whatever node they are. While a deployment goes on, the version before still
runs: so a migration may only add what it can do without. Take away in a later
version what no version uses any more.
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


async def migrate(database: Database, settings: Settings, folder: Traversable) -> list[str]:
    """Applies the files NAME.sql of a folder that were not applied yet, and returns
    their names. All of them are, or none:

        await migrate(db, settings, importlib.resources.files("notes") / "migrations")
    """
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    applied: list[str] = []
    async with database.primary() as conn:
        # Held until the transaction ends, which is as long as PgBouncer lends the
        # connection. Two CREATE TABLE IF NOT EXISTS at once would collide without.
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('elements_migrations'))")
        await conn.execute(_TABLE)
        known = await _known(conn, settings.application)
        for file in files:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if known.get(file.name) == digest:
                continue
            if file.name in known:
                raise MigrationError(f"{file.name} was changed after it was applied; add another file instead")
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
