"""Clients of the two Redis servers.

- The cluster's, on the management node: the same from every node. Its user `app`
  may use keys and channels that begin with `app:`, see `key`.
- The node's own, for queues whose work may stay on the node; it is lost with it.
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
    """A client of the cluster's Redis. It connects at the first command."""
    return _client(settings, settings.redis_host, settings.redis_port)


def queue(settings: Settings) -> Client:
    """A client of the node's own Redis, where all keys are applications'."""
    return _client(settings, settings.queue_host, settings.queue_port)


async def check(client: Client) -> None:
    """Raises if the server does not answer."""
    await cast(Awaitable[bool], client.ping())  # pyright: ignore[reportUnknownMemberType]


def key(settings: Settings, *parts: str) -> str:
    """A key of this application: `app:notes:parts:…`."""
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
        # A restart of Redis takes less than a second. A command whose answer was lost
        # is sent again: make yours repeatable, or give retry=None to a client of your own.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _TRIES),
        retry_on_error=[ConnectionError, TimeoutError],
        # CLIENT SETINFO is no command of the user app.
        lib_name=None,
        lib_version=None,
    )
