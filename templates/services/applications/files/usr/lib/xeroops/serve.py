"""Runs an application under uvicorn, and shuts it down without failing a request.

It takes uvicorn's arguments. At shutdown, uvicorn immediately closes connections
without a request, including those whose request is in transit. This module first
stops listening on the socket, which another version may share; it answers the
requests that arrive on open connections, with "Connection: close"; and it starts
uvicorn's own shutdown only after a grace period.
"""

import asyncio
import os

import uvicorn

# Seconds. A request that arrives later on an open connection comes from a client that
# opens connections in advance. A trial has no clients.
GRACE = 0.0 if os.environ.get("XEROOPS_TRIAL") else 1.0

# Worker processes import this module too, so each one patches the class.
_uvicorn_shutdown = uvicorn.Server.shutdown


async def _shutdown(self, sockets=None):
    for server in self.servers:
        server.close()
    state = self.server_state
    state.default_headers = [*state.default_headers, (b"connection", b"close")]
    await asyncio.sleep(GRACE)
    await _uvicorn_shutdown(self, sockets)


uvicorn.Server.shutdown = _shutdown

if __name__ == "__main__":
    uvicorn.main()
