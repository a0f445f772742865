"""The FastAPI application, with settings, pools, clients, logs and health checks."""

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
    """The application's settings, pools and clients. They are open while it runs."""

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
    """Returns an application.

    `lifespan` runs while the pools are open. /readyz requires `checks` in addition
    to the primary. Other arguments are FastAPI's. The OpenAPI description is below
    the route prefix, because the edge forwards only that.
    """
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
    """Dependency: the application's `Elements`."""
    return cast(Elements, request.app.state.elements)


def _database(own: Annotated[Elements, Depends(elements)]) -> Database:
    return own.database


Db = Annotated[Database, Depends(_database)]
"""The type of a path function's parameter: `db: Db`."""


async def _invalid(request: Request, error: Exception) -> Response:
    """Answers an invalid request. FastAPI's own answer repeats the invalid input, which
    may not be representable in JSON: NaN, or an unpaired surrogate."""
    invalid = cast(RequestValidationError, error)
    try:
        return await request_validation_exception_handler(request, invalid)
    except ValueError:
        detail = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in invalid.errors()]
        return Response(json.dumps({"detail": detail}), status_code=422, media_type="application/json")


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    """Answers 503 while the database is unavailable, as during a failover."""
    # The reason may contain addresses and users, so it is only logged.
    _log.warning("database unavailable", extra={"reason": str(error)})
    return JSONResponse(
        {"detail": "the database is unavailable; try again later", "request_id": request_id.get()},
        status_code=503,
        headers={"Retry-After": "2"},
    )
