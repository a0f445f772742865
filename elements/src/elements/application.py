"""A FastAPI application with everything in place."""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError

from elements import health
from elements import redis as redis_clients
from elements.database import Database
from elements.logs import configure_logging, request_id
from elements.requests import Requests
from elements.settings import Settings

_log = logging.getLogger(__name__)

type Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True)
class Elements:
    """What an application has, open while it runs."""

    settings: Settings
    database: Database
    redis: redis_clients.Client
    queue: redis_clients.Client


def create_app(
    settings: Settings | None = None,
    *,
    lifespan: Lifespan | None = None,
    checks: Mapping[str, health.Check] | None = None,
    **fastapi: Any,
) -> FastAPI:
    """Makes an application. `lifespan` runs within the life of the pools, `checks`
    count for /readyz beside the primary's; the rest is FastAPI's. The API's
    description is below the route prefix, or it could not be reached."""
    settings = settings or Settings()
    configure_logging(settings)
    own = Elements(settings, Database(settings), redis_clients.shared(settings), redis_clients.queue(settings))

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for client in (own.redis, own.queue):
                stack.push_async_callback(client.aclose)
            await own.database.open()
            stack.push_async_callback(own.database.close)
            if lifespan is not None:
                await stack.enter_async_context(lifespan(app))
            yield

    described: dict[str, Any] = {
        "title": settings.application,
        "version": settings.version,
        "openapi_url": f"{settings.route_prefix}/openapi.json",
        "docs_url": f"{settings.route_prefix}/docs",
        "redoc_url": None,
    }
    handlers: dict[int | type[Exception], Any] = {OperationalError: _unavailable, RequestValidationError: _invalid}
    handlers |= fastapi.pop("exception_handlers", {})
    app = FastAPI(lifespan=life, exception_handlers=handlers, **(described | fastapi))
    app.state.elements = own
    app.add_middleware(Requests)
    app.include_router(
        health.router(
            {"primary": own.database.check_primary, **(checks or {})},
            {
                "replica": own.database.check_replica,
                "redis": partial(redis_clients.check, own.redis),
                "queue": partial(redis_clients.check, own.queue),
            },
        )
    )
    return app


def elements(request: Request) -> Elements:
    """Dependency: what the application has."""
    return cast(Elements, request.app.state.elements)


def _database(own: Annotated[Elements, Depends(elements)]) -> Database:
    return own.database


Db = Annotated[Database, Depends(_database)]
"""`db: Db` in a path function."""


async def _invalid(request: Request, error: Exception) -> Response:
    """A request that is not as declared. FastAPI's answer repeats what was wrong in it,
    which JSON may have no way to say: NaN, half of a surrogate pair."""
    invalid = cast(RequestValidationError, error)
    try:
        return await request_validation_exception_handler(request, invalid)
    except ValueError:
        detail = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in invalid.errors()]
        return Response(json.dumps({"detail": detail}), status_code=422, media_type="application/json")


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    """The database is away for the moment, as during a failover: the client may try again."""
    # The reason may name addresses and users: it is for the log.
    _log.warning("the database is not available", extra={"reason": str(error)})
    return JSONResponse(
        {"detail": "the database is not available; try again in a moment", "request_id": request_id.get()},
        status_code=503,
        headers={"Retry-After": "2"},
    )
