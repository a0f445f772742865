"""Settings, from the environment that the node gives an application.

On a node nothing has to be set: the image's units give names and passwords. On a
developer's machine, PRIMARY_PORT and the like point to whatever runs there.
"""

import socket

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an application is told. Derive from it to add settings of your own:

        class NotesSettings(Settings):
            page_size: int = 50  # PAGE_SIZE

    Secrets are `SecretStr`, which doesn't print them; `.get_secret_value()` reads them.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    # Who this is, for logs.
    application: str = Field(default="application", validation_alias="XEROOPS_APPLICATION")
    version: str = Field(default="development", validation_alias="XEROOPS_VERSION")
    node: str = Field(default_factory=socket.gethostname, validation_alias="XEROOPS_NODE")
    # Requests below this path come here; it is not cut off.
    route_prefix: str = Field(default="", validation_alias="XEROOPS_ROUTE_PREFIX")
    # A deployment starts a version once beside the one that serves, before it switches.
    trial: bool = Field(default=False, validation_alias="XEROOPS_TRIAL")
    log_level: str = "INFO"

    # PostgreSQL: HAProxy on the management node, then PgBouncer.
    database_host: str = "management"
    primary_port: int = 5432
    replica_port: int = 5433
    database_name: str = "app"
    database_user: str = "app"
    database_password: SecretStr = Field(default=SecretStr(""), validation_alias="POSTGRES_APP_PASSWORD")
    # Connections of each worker to each of the two; PgBouncer shares few of its own among all.
    pool_min: int = 1
    pool_max: int = 10
    # Seconds until a request that finds no connection fails.
    pool_timeout: float = 5.0

    # Redis on the management node, shared by all nodes.
    redis_host: str = "management"
    redis_port: int = 6379
    redis_password: SecretStr = Field(default=SecretStr(""), validation_alias="REDIS_APP_PASSWORD")

    # The node's own Redis, for queues whose work may stay on the node.
    queue_host: str = "127.0.0.1"
    queue_port: int = 6379
