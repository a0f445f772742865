import base64
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Annotated, Any

import psycopg
import pytest
from servers import Servers, free_port, until
from fastapi import Body, FastAPI
from fastapi.testclient import TestClient
from redis.exceptions import NoPermissionError

from elements import CurrentSession, Db, OptionalSession, Settings, configure_logging, create_app, request_id
from elements.redis import key, queue, shared


def application(settings: Settings) -> FastAPI:
    app = create_app(settings)

    @app.get("/api/notes/who")
    async def who(session: CurrentSession) -> dict[str, Any]:
        return {"subject": session.subject, "claims": session.claims}

    @app.get("/api/notes/perhaps")
    async def perhaps(session: OptionalSession) -> bool:
        return session is not None

    @app.get("/api/notes/one")
    async def one(db: Db) -> Any:
        async with db.primary() as conn:
            return await (await conn.execute("SELECT 1 AS one")).fetchone()

    @app.post("/api/notes/items")
    async def add(text: Annotated[str, Body(embed=True, min_length=1)]) -> str:
        return text

    @app.get("/api/notes/broken")
    async def broken() -> None:
        logging.getLogger("mine").info("about to break", extra={"colour": "blue"})
        raise RuntimeError("a secret")

    return app


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(application(settings)) as client:
        yield client


def header(**content: object) -> dict[str, str]:
    return {"X-Xeroops-Session": base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")}


def lines(captured: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.splitlines()]


def test_healthz_ignores_dependencies_and_readyz_names_those_unavailable(
    client: TestClient, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "checks": {"primary": "ok", "replica": "ok", "redis": "ok", "queue": "ok"}}
    away = settings.model_copy(update={"primary_port": 1, "redis_port": 1, "pool_timeout": 0.2})
    with TestClient(application(away)) as lonely:
        assert lonely.get("/healthz").status_code == 200
        answer = lonely.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"primary": "PoolTimeout", "replica": "ok", "redis": "ConnectionError", "queue": "ok"}
        unavailable = lonely.get("/api/notes/one")
        assert unavailable.status_code == 503
        assert "database unavailable" in [line["message"] for line in lines(capsys.readouterr().out)]
        assert unavailable.headers["Retry-After"] == "2"


def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-12345"}).headers["X-Request-ID"] == "abc-12345"
    for bad in ("short", "x" * 65, 'quote"quote"quote', "semi;colon;semi"):
        made = client.get("/healthz", headers={"X-Request-ID": bad}).headers["X-Request-ID"]
        assert made != bad
        assert len(made) == 32
    assert request_id.get() is None


def test_an_unhandled_exception_is_logged_with_the_request_id_of_the_response(
    client: TestClient, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(settings)  # once more, for this test's standard output
    answer = client.get("/api/notes/broken", headers={"X-Request-ID": "request-77"})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "internal error", "request_id": "request-77"}
    assert answer.headers["X-Request-ID"] == "request-77"
    ours = [line for line in lines(capsys.readouterr().out) if line["logger"] in ("mine", "elements.access")]
    assert [line["message"] for line in ours] == ["about to break", "unhandled exception", "request"]
    assert {line["request_id"] for line in ours} == {"request-77"}
    assert ours[0] | {"colour": "blue", "application": "notes", "version": "1.2.3", "node": "app1"} == ours[0]
    assert "RuntimeError: a secret" in ours[1]["error"]
    assert (ours[2]["method"], ours[2]["path"], ours[2]["status"]) == ("GET", "/api/notes/broken", 500)


@pytest.mark.parametrize("body", ['{"text": "\\ud800"}', '{"text": NaN}', '{"text": 1}'])
def test_an_invalid_body_is_answered_with_422(client: TestClient, body: str) -> None:
    answer = client.post("/api/notes/items", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "text"]


@pytest.mark.parametrize("value", ["half \ud800 of a pair", "naïve", float("nan"), {("a", "key"): 1}, b"\xff"])
def test_every_value_is_logged_as_a_line_of_json(settings: Settings, capfd: pytest.CaptureFixture[str], value: object) -> None:
    configure_logging(settings)
    logging.getLogger("mine").info("said %s", value, extra={"value": value})
    line = lines(capfd.readouterr().out)[-1]
    assert line["message"] == f"said {value}"
    assert line["value"] == (value if isinstance(value, str) else str(value))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (header(sub="jane", exp=time.time() + 60), 200),
        (header(sub="jane", exp=time.time() - 1), 401),
        (header(sub="", exp=time.time() + 60), 401),
        (header(exp=time.time() + 60), 401),
        (header(sub="jane"), 401),
        ({"X-Xeroops-Session": "not base64 at all"}, 401),
        ({"X-Xeroops-Session": "e30"}, 401),
        ({"X-Xeroops-Session": "_w"}, 401),
    ],
)
def test_a_session_is_accepted_if_it_is_valid_and_not_expired(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.get("/api/notes/who", headers=headers).status_code == status
    assert client.get("/api/notes/perhaps", headers=headers).json() is (status == 200)


def test_a_session_has_its_other_claims(client: TestClient) -> None:
    answer = client.get("/api/notes/who", headers=header(sub="jane", exp=time.time() + 60, roles=["editor"]))
    assert answer.json() == {"subject": "jane", "claims": {"roles": ["editor"]}}


def test_the_description_is_below_the_route_prefix(client: TestClient) -> None:
    assert client.get("/api/notes/openapi.json").json()["info"] == {"title": "notes", "version": "1.2.3"}
    assert client.get("/openapi.json").status_code == 404


def test_secrets_are_not_printed(settings: Settings) -> None:
    assert settings.redis_password.get_secret_value() == "secret"
    assert "secret" not in repr(settings) + str(settings)


@pytest.mark.anyio
async def test_redis_refuses_keys_of_others(settings: Settings) -> None:
    client = shared(settings)
    await client.set(key(settings, "greeting"), "hello")
    assert await client.get("app:notes:greeting") == "hello"
    with pytest.raises(NoPermissionError):
        await client.set("xeroops:deploy:notes", "evil")
    await client.aclose()


@pytest.mark.anyio
async def test_the_queue_is_on_the_node(settings: Settings) -> None:
    client = queue(settings)
    await client.lpush("work", "one")
    assert await client.brpop(["work"], timeout=1) == ("work", "one")
    await client.aclose()


APPLICATION = """
from elements import create_app
app = create_app()
"""


def test_under_uvicorn_every_line_of_a_worker_is_json(servers: Servers, tmp_path: pathlib.Path) -> None:
    (tmp_path / "served.py").write_text(APPLICATION)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "served:app", "--port", str(port), "--no-access-log"],
        cwd=tmp_path, env=os.environ | servers.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/api/notes/nowhere"

    def answers() -> bool:
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers={"X-Request-ID": "request-99"}))
        except urllib.error.HTTPError as error:
            return error.code == 404
        return False

    try:
        until(answers, "uvicorn answers")
    finally:
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)
    requests = [line for line in lines(out) if line["message"] == "request"]
    assert [(line["request_id"], line["status"]) for line in requests] == [("request-99", 404)]


def test_psycopg_is_the_compiled_one() -> None:
    assert psycopg.pq.__impl__ == "c"
