import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from servers import Servers, free_port, until


class Node:
    """The service as an app node runs it."""

    def __init__(self, servers: Servers, name: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "uvicorn", "notes.main:app", "--port", str(self.port), "--no-access-log", "--workers", "2"]
        self.process = subprocess.Popen(command, env=os.environ | servers.environment | {"XEROOPS_NODE": name})
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}")

    def healthy(self) -> bool:
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def nodes(servers: Servers) -> Iterator[list[Node]]:
    # Both at once, with two workers each: all four come to the migration together.
    both = [Node(servers, "app1"), Node(servers, "app2")]
    for node in both:
        until(node.healthy, "the service is healthy")
    yield both
    for node in both:
        node.process.terminate()
        node.process.wait(timeout=20)


def test_what_one_node_wrote_the_other_reads(nodes: list[Node]) -> None:
    written = nodes[0].client.post("/api/notes/items", json={"text": "hello"})
    assert written.status_code == 201
    answer = nodes[1].client.get("/api/notes/items", params={"after": written.json()["position"]})
    assert answer.status_code == 200
    assert answer.json()["notes"][0] == written.json()["note"]
    assert (answer.json()["node"], answer.json()["version"]) == ("app2", "1.2.3")


def test_many_write_at_once(nodes: list[Node]) -> None:
    def write_and_read(number: int) -> bool:
        client = nodes[number % 2].client
        written = client.post("/api/notes/items", json={"text": f"note {number}"}).json()
        seen = nodes[(number + 1) % 2].client.get("/api/notes/items", params={"after": written["position"]}).json()
        return written["note"] in seen["notes"]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(100)))


def test_a_note_is_removed_once(nodes: list[Node]) -> None:
    number = nodes[0].client.post("/api/notes/items", json={"text": "away"}).json()["note"]["id"]
    assert [nodes[1].client.delete(f"/api/notes/items/{number}").status_code for _ in range(2)] == [204, 404]


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "x" * 501}, {"text": 1}, {"text": "a\0b"}])
def test_what_is_no_note_is_refused(nodes: list[Node], body: dict[str, object]) -> None:
    assert nodes[0].client.post("/api/notes/items", json=body).status_code == 422


def test_a_position_that_is_none_is_refused(nodes: list[Node]) -> None:
    assert nodes[0].client.get("/api/notes/items", params={"after": "'; DROP TABLE notes"}).status_code == 422


def test_the_page_is_at_the_prefix(nodes: list[Node]) -> None:
    page = nodes[0].client.get("/api/notes")
    assert page.headers["content-type"].startswith("text/html")
    assert page.text == (pathlib.Path(__file__).parent.parent / "src/notes/page.html").read_text()
