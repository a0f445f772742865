"""/healthz and /readyz.

/healthz says that the process serves requests, and nothing else: HAProxy asks it
every second, and takes a node out that does not answer. It does not ask the
database, for without a database every node would be taken out at once, and no
request would get as far as an answer that says so.

/readyz says whether what the application needs is there, and what is not.
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
    """The two paths. A check fails by raising, or by taking two seconds; an optional
    one that fails is shown, and the application is ready all the same."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        needed, others = await asyncio.gather(_run(required), _run(optional or {}))
        ready = all(word == "ok" for word in needed.values())
        if not ready:
            response.status_code = 503
        return {"status": "ready" if ready else "not ready", "checks": needed | others}

    return routes


async def _run(checks: Mapping[str, Check]) -> dict[str, str]:
    words = await asyncio.gather(*(_word(name, check) for name, check in checks.items()))
    return dict(zip(checks, words, strict=True))


async def _word(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:g} s"
    except Exception as error:
        # The reason may name addresses and users: it is for the log.
        _log.warning("check failed", extra={"check": name, "reason": str(error)})
        return type(error).__name__
    return "ok"
