"""Settings from the environment.

On a node, the application's unit sets names and passwords. On a developer's machine,
set variables such as PRIMARY_PORT to the servers that run there.
"""

import socket

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The application's settings. Derive from it to add your own:

        class NotesSettings(Settings):
            page_size: int = 50  # PAGE_SIZE

    Secrets are `SecretStr`, which is not printed; `.get_secret_value()` returns the value.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    # Identity of the application, for logs.
    application: str = Field(default="application", validation_alias="XEROOPS_APPLICATION")
    version: str = Field(default="development", validation_alias="XEROOPS_VERSION")
    node: str = Field(default_factory=socket.gethostname, validation_alias="XEROOPS_NODE")
    # HAProxy forwards requests below this path, with the path unchanged.
    route_prefix: str = Field(default="", validation_alias="XEROOPS_ROUTE_PREFIX")
    # A deployment first runs a version on trial, beside the serving one.
    trial: bool = Field(default=False, validation_alias="XEROOPS_TRIAL")
    log_level: str = "INFO"

    # PostgreSQL, through HAProxy on the management node and PgBouncer.
    database_host: str = "management"
    primary_port: int = 5432
    replica_port: int = 5433
    database_name: str = "app"
    database_user: str = "app"
    database_password: SecretStr = Field(default=SecretStr(""), validation_alias="POSTGRES_APP_PASSWORD")
    # Connections of each worker to each pool; PgBouncer multiplexes them.
    pool_min: int = 1
    pool_max: int = 10
    # Seconds after which a request without a connection fails.
    pool_timeout: float = 5.0

    # Redis on the management node, shared by all nodes.
    redis_host: str = "management"
    redis_port: int = 6379
    redis_password: SecretStr = Field(default=SecretStr(""), validation_alias="REDIS_APP_PASSWORD")

    # The node's own Redis, for queues of work that can stay on the node.
    queue_host: str = "127.0.0.1"
    queue_port: int = 6379
