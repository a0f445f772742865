"""Middleware for every request: its id, its line in the log, and the answer to exceptions."""

import json
import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elements.logs import request_id

_log = logging.getLogger("elements.access")

# The same pattern as at the edge: safe to log.
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")

# HAProxy requests these every second, so only failures are logged.
_QUIET = frozenset({"/healthz", "/readyz"})


class Requests:
    """Takes a request's id from X-Request-ID, or generates one, and adds it to the
    response, the logs and `elements.request_id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        current = given if _ACCEPTABLE.fullmatch(given) else uuid4().hex
        token = request_id.set(current)
        try:
            if scope["type"] == "http":
                await self._http(scope, receive, send, current)
            else:
                await self._app(scope, receive, send)
        finally:
            request_id.reset(token)

    async def _http(self, scope: Scope, receive: Receive, send: Send, current: str) -> None:
        began = perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = current
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            _log.exception("unhandled exception", extra={"method": scope["method"], "path": scope["path"]})
            if status != 0:
                raise  # the response has started, so the server can only close the connection
            await _answer_500(noted, current)
        finally:
            if scope["path"] not in _QUIET or status >= 400:
                _log.info(
                    "request",
                    extra={
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "seconds": round(perf_counter() - began, 6),
                        "client": (scope.get("client") or ("",))[0],
                    },
                )


async def _answer_500(send: Send, current: str) -> None:
    body = json.dumps({"detail": "internal error", "request_id": current}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
