"""Notes: written through the primary, read from a replica.

The edge passes /api/notes on as it is, so every path here begins with it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import Annotated

from elements import Db, Position, Settings, create_app, migrate
from fastapi import APIRouter, FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

SHOWN = 50

settings = Settings()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    # A version whose tables can't be made does not start, and so is not deployed.
    await migrate(app.state.elements.database, settings, files("notes") / "migrations")
    yield


app = create_app(settings, lifespan=lifespan)
routes = APIRouter(prefix=settings.route_prefix or "/api/notes")
page = (files("notes") / "page.html").read_text()


class NewNote(BaseModel):
    # PostgreSQL's text has no NUL.
    text: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")


class Note(BaseModel):
    id: int
    text: str
    written_at: datetime


class Written(BaseModel):
    note: Note
    # Give it to GET as ?after=, to see at least what was written until then.
    position: str


class Notes(BaseModel):
    notes: list[Note]
    # Who answered: watch a deployment, or an app node being killed.
    node: str
    version: str


@routes.get("", response_class=HTMLResponse, include_in_schema=False)
async def show() -> str:
    return page


@routes.post("/items", status_code=201)
async def write(db: Db, new: NewNote) -> Written:
    async with db.primary() as conn:
        cursor = await conn.execute("INSERT INTO notes (text) VALUES (%s) RETURNING id, text, written_at", (new.text,))
        row = await cursor.fetchone()
    return Written(note=Note.model_validate(row), position=await db.position())


@routes.get("/items")
async def read(db: Db, after: Annotated[str | None, Query(pattern="^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")] = None) -> Notes:
    async with db.replica(after=Position(after) if after else None) as conn:
        cursor = await conn.execute("SELECT id, text, written_at FROM notes ORDER BY id DESC LIMIT %s", (SHOWN,))
        rows = await cursor.fetchall()
    return Notes(notes=[Note.model_validate(row) for row in rows], node=settings.node, version=settings.version)


@routes.delete("/items/{number}", status_code=204)
async def remove(db: Db, number: int) -> None:
    async with db.primary() as conn:
        cursor = await conn.execute("DELETE FROM notes WHERE id = %s", (number,))
    if cursor.rowcount == 0:
        raise HTTPException(404, "there is no such note")


app.include_router(routes)
