"""Runs an application under uvicorn, and shuts it down without failing a request.

It takes uvicorn's arguments. At shutdown, uvicorn immediately closes connections
without a request, including those whose request is in transit. This module first
stops listening on the socket, which another version may share; it answers the
requests that arrive on open connections, with "Connection: close"; and it starts
uvicorn's own shutdown only after a grace period, which also closes WebSockets, with
code 1012. Streams of events, which have no end, end then as if they were complete, so
that browsers reconnect; other responses may continue.
"""

import asyncio
import os

import uvicorn

# Seconds. A request that arrives later on an open connection comes from a client that
# opens connections in advance. A trial has no clients.
GRACE = 0.0 if os.environ.get("XEROOPS_TRIAL") else 1.0

# Worker processes import this module too, so each one patches the class.
_uvicorn_shutdown = uvicorn.Server.shutdown
_uvicorn_load = uvicorn.Config.load
_streams = set()  # tasks that send events


async def _shutdown(self, sockets=None):
    for server in self.servers:
        server.close()
    state = self.server_state
    state.default_headers = [*state.default_headers, (b"connection", b"close")]
    await asyncio.sleep(GRACE)
    for stream in list(_streams):
        stream.cancel()
    await _uvicorn_shutdown(self, sockets)


def _load(self):
    _uvicorn_load(self)
    self.loaded_app = _ending_streams(self.loaded_app)


def _ending_streams(app):
    """Wraps an application so that its streams of events end at shutdown."""

    async def wrapped(scope, receive, send):
        task = asyncio.current_task()

        async def noted(message):
            if message["type"] == "http.response.start" and any(
                name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
                for name, value in message.get("headers", ())
            ):
                _streams.add(task)
            await send(message)

        try:
            await app(scope, receive, noted if scope["type"] == "http" else send)
        except asyncio.CancelledError:
            if task not in _streams:
                raise
            task.uncancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            _streams.discard(task)

    return wrapped


uvicorn.Server.shutdown = _shutdown
uvicorn.Config.load = _load

if __name__ == "__main__":
    uvicorn.main()
