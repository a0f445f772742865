"""Clients of the two Redis servers.

- The cluster's, on the management node, shared by all nodes. Its user `app` may use
  keys and channels that begin with `app:`; see `key`.
- The node's own, for queues of work that can stay on the node. Its data is lost with
  the node.
"""

from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, TimeoutError

from elements.settings import Settings

type Client = Redis

_TRIES = 3


def shared(settings: Settings) -> Client:
    """Returns a client of the cluster's Redis. It connects at the first command."""
    return _client(settings, settings.redis_host, settings.redis_port)


def queue(settings: Settings) -> Client:
    """Returns a client of the node's own Redis, where any key may be used."""
    return _client(settings, settings.queue_host, settings.queue_port)


async def check(client: Client) -> None:
    """Raises if the server does not answer."""
    await cast(Awaitable[bool], client.ping())  # pyright: ignore[reportUnknownMemberType]


def key(settings: Settings, *parts: str) -> str:
    """Returns a key of this application: `app:notes:parts:…`."""
    return ":".join(("app", settings.application, *parts))


def _client(settings: Settings, host: str, port: int) -> Client:
    return Redis(
        host=host,
        port=port,
        username="app",
        password=settings.redis_password.get_secret_value(),
        decode_responses=True,
        socket_connect_timeout=2.0,
        socket_timeout=5.0,
        socket_keepalive=True,
        health_check_interval=15,
        # A restart of Redis takes less than a second. A command whose reply was lost is sent
        # again, so commands must be idempotent; otherwise use a client with retry=None.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _TRIES),
        retry_on_error=[ConnectionError, TimeoutError],
        # The user app may not run CLIENT SETINFO.
        lib_name=None,
        lib_version=None,
    )
