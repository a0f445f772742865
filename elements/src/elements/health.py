"""Health checks: /healthz and /readyz.

/healthz reports only that the process serves requests. HAProxy requests it every
second and stops routing to a node that does not answer. It does not check the
database: otherwise an outage of the database would remove every node, and clients
would not get the application's own 503.

/readyz reports whether the application's dependencies are available, and which are not.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Response

type Check = Callable[[], Awaitable[Any]]

_CHECK_SECONDS = 2.0

_log = logging.getLogger(__name__)


def router(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> APIRouter:
    """Returns a router for both paths. A check fails if it raises or takes more than
    two seconds. /readyz shows failed optional checks, but does not depend on them."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        needed, others = await asyncio.gather(_run(required), _run(optional or {}))
        ready = all(result == "ok" for result in needed.values())
        if not ready:
            response.status_code = 503
        return {"status": "ready" if ready else "not ready", "checks": needed | others}

    return routes


async def _run(checks: Mapping[str, Check]) -> dict[str, str]:
    results = await asyncio.gather(*(_result(name, check) for name, check in checks.items()))
    return dict(zip(checks, results, strict=True))


async def _result(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:g} s"
    except Exception as error:
        # The reason may contain addresses and users, so it is only logged.
        _log.warning("check failed", extra={"check": name, "reason": str(error)})
        return type(error).__name__
    return "ok"
