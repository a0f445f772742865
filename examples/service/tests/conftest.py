"""The servers of elements' tests, whose directory is on PYTHONPATH."""

from collections.abc import Iterator

import pytest
from servers import Servers, missing


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    if why := missing():
        pytest.skip(why)
    all_of_them = Servers(tmp_path_factory.mktemp("servers"))
    yield all_of_them
    all_of_them.stop()
