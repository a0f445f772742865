"""The library of applications on a XeroOps cluster.

    from elements import Db, create_app

    app = create_app()

    @app.get("/api/hello")
    async def hello(db: Db) -> dict[str, str]:
        async with db.replica() as conn:
            row = await (await conn.execute("SELECT version()")).fetchone()
        return {"database": row["version"]}

`create_app` returns a FastAPI application with settings from the environment,
connection pools to the primary and the replicas, Redis clients, one line of JSON in
the log per request, with its id, and /healthz and /readyz.
"""

from elements.application import Db, Elements, create_app, elements
from elements.database import Connection, Database, Position
from elements.logs import configure_logging, request_id
from elements.migrations import MigrationError, migrate
from elements.sessions import CurrentSession, OptionalSession, Session
from elements.settings import Settings

__all__ = [
    "Connection",
    "CurrentSession",
    "Database",
    "Db",
    "Elements",
    "MigrationError",
    "OptionalSession",
    "Position",
    "Session",
    "Settings",
    "configure_logging",
    "create_app",
    "elements",
    "migrate",
    "request_id",
]
