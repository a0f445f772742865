from collections.abc import Iterator

import pytest
from servers import Servers, missing

from elements import Settings


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    if why := missing():
        pytest.skip(why)
    all_of_them = Servers(tmp_path_factory.mktemp("servers"))
    yield all_of_them
    all_of_them.stop()


@pytest.fixture
def settings(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)
    return Settings()
