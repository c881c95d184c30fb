"""The key in the path: what it opens, what it does not, and that nothing logs it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from jupyter_server.auth.decorator import authorized
from tornado import web

from bodhi_jupyter import routes as routes_module
from bodhi_jupyter.access.key_store import KeyStore
from bodhi_jupyter.access.watched_keys import keys_path
from bodhi_jupyter.handlers.base import GatewayHandler
from bodhi_jupyter.handlers.ollama.keyed import keyed
from tests.live.server import LiveServer

STRANGER = "bodhi-" + "Z" * 43
SECRET_OF_NOBODY = "nobodys-secret-in-a-path"


class EchoHandler(GatewayHandler):
    def render_error(self, error: Any) -> dict[str, object]:
        return {"error": error.message}

    @web.authenticated
    @authorized
    async def get(self, *arguments: str) -> None:
        self.answer_json(
            {
                "user": self.current_user.username,
                "arguments": arguments,
                "path": self.request.path,
                "uri": self.request.uri,
            }
        )

    @web.authenticated
    @authorized
    async def post(self, *arguments: str) -> None:
        self.answer_json({"body": self.body.decode()})


class BoomHandler(EchoHandler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        raise RuntimeError(f"{self.request.uri} went up")


ROUTES = [(r"/api/echo", EchoHandler), (r"/api/echo/(.+)", EchoHandler), (r"/api/boom", BoomHandler)]


@pytest.fixture
def bodhi_config(monkeypatch) -> dict[str, Any]:
    monkeypatch.setattr(routes_module, "ROUTES", [*keyed(ROUTES), *routes_module.ROUTES])
    return {"max_body_bytes": 1000}


@pytest.fixture
def key(extension) -> str:
    return KeyStore(keys_path()).create("editor").key


async def test_a_key_in_the_path_opens_the_route(anonymous, key) -> None:
    answer = await anonymous.get(f"/bodhi/ollama/{key}/api/echo?a=b")
    assert answer.status_code == 200
    said = answer.json()
    assert said["user"] == "key:editor"
    assert said["arguments"] == []
    assert said["path"].endswith("/bodhi/ollama/***/api/echo")
    assert said["uri"].endswith("/bodhi/ollama/***/api/echo?a=b")
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_arguments_of_the_path_are_the_handlers_own(anonymous, key) -> None:
    assert (await anonymous.get(f"/bodhi/ollama/{key}/api/echo/org/model")).json()["arguments"] == ["org/model"]


async def test_a_post_needs_neither_cookie_nor_xsrf_header(anonymous, key) -> None:
    answer = await anonymous.post(f"/bodhi/ollama/{key}/api/echo", content=b"hello")
    assert (answer.status_code, answer.json()) == (200, {"body": "hello"})


async def test_kernels_and_terminals_keys_open_it_too(anonymous, extension) -> None:
    key = extension.gateway.keys.mint("kernel:42")
    assert (await anonymous.get(f"/bodhi/ollama/{key}/api/echo")).json()["user"] == "kernel:42"


@pytest.mark.parametrize("slash", ["", "/"])
async def test_it_greets_as_ollama_does(anonymous, key, slash) -> None:
    answer = await anonymous.get(f"/bodhi/ollama/{key}{slash}")
    assert (answer.status_code, answer.text) == (200, "Ollama is running")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    head = await anonymous.head(f"/bodhi/ollama/{key}{slash}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len("Ollama is running"))


@pytest.mark.parametrize("path", ["", "/", "/api/echo", "/nowhere", "/api/boom"])
async def test_nothing_opens_without_a_key_of_ours(anonymous, token, path) -> None:
    for wrong in (STRANGER, token, SECRET_OF_NOBODY):
        answer = await anonymous.get(f"/bodhi/ollama/{wrong}{path}")
        assert answer.status_code == 401
        assert list(answer.json()) == ["error"]
        assert "jupyter bodhi key create" in answer.json()["error"]
        assert wrong not in answer.text
        assert "set-cookie" not in answer.headers


async def test_the_tokens_header_or_query_does_not_help_a_wrong_key(client, token, key) -> None:
    # The client sends the server's token in its headers.
    for path in (f"/bodhi/ollama/{STRANGER}/api/echo", f"/bodhi/ollama/{token}/api/echo?token={token}"):
        assert (await client.get(path)).status_code == 401
    assert (await client.get(f"/bodhi/ollama/{key}/api/echo")).json()["user"] == "key:editor"


async def test_a_browser_that_is_logged_in_is_nobody_here(anonymous, token) -> None:
    logged_in = await anonymous.get(f"/api/me?token={token}")
    assert logged_in.status_code == 200
    assert anonymous.cookies
    assert (await anonymous.get("/api/me")).status_code == 200
    answer = await anonymous.get(f"/bodhi/ollama/{STRANGER}/api/echo")
    assert answer.status_code == 401


async def test_where_jupyter_asks_nobody_for_a_login_a_key_is_needed_all_the_same(anonymous, jp_serverapp, key) -> None:
    jp_serverapp.identity_provider.token = ""
    assert (await anonymous.get("/v1/models")).status_code == 200
    assert (await anonymous.get(f"/bodhi/ollama/{STRANGER}/api/echo")).status_code == 401
    assert (await anonymous.get(f"/bodhi/ollama/{key}/api/echo")).status_code == 200


async def test_a_revoked_key_opens_nothing_at_once(anonymous, key) -> None:
    assert (await anonymous.get(f"/bodhi/ollama/{key}/")).status_code == 200
    KeyStore(keys_path()).revoke("editor")
    assert (await anonymous.get(f"/bodhi/ollama/{key}/")).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/api/nowhere", "//api/echo", "/api/echo/", "/v2"])
async def test_other_paths_are_not_found_in_ollamas_shape(anonymous, key, method, path) -> None:
    answer = await anonymous.request(method, f"/bodhi/ollama/{key}{path}")
    assert answer.status_code == 404
    assert answer.json() == {"error": f"There is no {path} here."}


async def test_a_path_key_does_not_open_other_hosts_names(anonymous, key) -> None:
    answer = await anonymous.get(f"/bodhi/ollama/{key}/api/echo", headers={"Host": "evil.example"})
    assert answer.status_code == 403


async def test_a_body_above_the_limit_is_refused(anonymous, key) -> None:
    answer = await anonymous.post(f"/bodhi/ollama/{key}/api/echo", content=b"x" * 1001)
    assert answer.status_code == 413
    assert key not in answer.text


async def test_no_route_is_given_below_api(extension) -> None:
    *patterns, misspelt = (pattern for pattern, _ in keyed(ROUTES))
    assert all(pattern.startswith("/+bodhi/+ollama") for pattern in patterns)
    assert not any(re.fullmatch(misspelt, path) for path in ("/", "/api/echo", "/api/bodhi/ollama/x", "/bodhi/ollama"))


async def test_handlers_have_one_twin_each() -> None:
    (first, second, *_) = (handler for _, handler in keyed(ROUTES))
    assert first is second


@pytest.mark.parametrize("before", ["/bodhi/ollama//", "/bodhi/ollama///", "//bodhi/ollama/", "//bodhi//ollama//"])
async def test_doubled_slashes_open_the_same(anonymous, server_url, key, before) -> None:
    answer = await anonymous.get(f"{server_url}{before}{key}/api/echo")
    assert answer.status_code == 200
    assert answer.json()["path"].endswith("/bodhi/ollama/***/api/echo")
    refused = await anonymous.get(f"{server_url}{before}{STRANGER}/api/echo")
    assert refused.status_code == 401


@pytest.mark.parametrize(
    "before",
    [
        "/bodhi/Ollama/",
        "/BODHI/OLLAMA//",
        "/bodhi%2Follama%2f",
        "/%2Fbodhi/ollama/",
        "/b%6fdhi/%4fllama/",
        "/%62%6F%64%68%69/ollama%2F/",
        "/bodhi%252Follama%252F",
    ],
)
async def test_no_spelling_of_the_address_brings_a_key_into_the_log(anonymous, server_url, key, caplog, before) -> None:
    with caplog.at_level(logging.DEBUG):
        for sent, status in ((key, 404), (STRANGER, 401), (SECRET_OF_NOBODY, 401)):
            answer = await raw_get(f"{server_url}{before}{sent}/api/echo", referer=f"{before}{sent}/page")
            assert answer.startswith(f"HTTP/1.1 {status} ")
            assert sent not in answer
            assert sent not in caplog.text
            if status == 404:
                assert "Spell the address /bodhi/ollama/<key>, in small letters" in answer
    assert "/bodhi/ollama/***/api/echo" in caplog.text


async def raw_get(url: str, referer: str) -> str:
    """The answer to a path that no client has put right."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nReferer: {referer}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["", "/", "//", "///"])
async def test_without_a_key_it_is_ollamas_shape_too(anonymous, method, path) -> None:
    answer = await anonymous.request(method, f"/bodhi/ollama{path}")
    assert answer.status_code == 401
    assert "jupyter bodhi key create" in answer.json()["error"]


async def test_jupyters_own_page_stays_where_it_is(client, server_url) -> None:
    answer = await client.get(f"{server_url}/")
    assert answer.status_code == 200
    assert "<title>Jupyter Server</title>" in answer.text


EXTENSION = """
from tests.handlers.ollama.test_keyed import ROUTES, keyed

def _jupyter_server_extension_points():
    return [{"module": "a_keyed_extension"}]

def _load_jupyter_server_extension(app):
    base = app.web_app.settings["base_url"].rstrip("/")
    app.web_app.add_handlers(".*$", [(base + pattern, handler) for pattern, handler in keyed(ROUTES)])
"""


def test_a_live_servers_log_never_holds_a_key(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "a_keyed_extension.py").write_text(EXTENSION)
    paths = os.pathsep.join([str(tmp_path / "modules"), str(Path(__file__).parents[3])])
    config = {
        # Of two extensions the one whose name sorts first is asked first.
        "ServerApp": {"jpserver_extensions": {"a_keyed_extension": True, "bodhi_jupyter": True}},
        "Application": {"log_level": "DEBUG"},
    }
    with LiveServer(tmp_path / "server", config=config, env={"PYTHONPATH": paths}) as server:
        good = KeyStore(tmp_path / "server" / "data" / "bodhi" / "keys.json").create("editor").key
        # Makes what the handlers work with.
        assert server.get("/v1/models").status_code == 200
        statuses = [_ask_everything(server.url, key) for key in (good, STRANGER, SECRET_OF_NOBODY)]
        log = server.log()

    assert statuses == [[200, 200, 404, 405, 405, 500], [401, 401, 401, 401, 405, 401], [401, 401, 401, 401, 405, 401]]
    for key in (good, STRANGER, SECRET_OF_NOBODY):
        assert key not in log
    # All of them were logged, with a traceback for the defect.
    for path in ("api/echo", "nowhere", "api/boom"):
        assert f"/bodhi/ollama/***/{path}" in log
    assert "RuntimeError: /bodhi/ollama/***/api/boom" in log
    assert "endpoint='GET /bodhi/ollama/***/api/boom' user=key:editor" in log


def test_a_live_servers_log_never_holds_the_key_of_a_real_request(tmp_path: Path) -> None:
    config = {
        "ServerApp": {"jpserver_extensions": {"bodhi_jupyter": True}},
        "Application": {"log_level": "DEBUG"},
    }
    # Whatever else speaks of the request says all it can, too.
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "sitecustomize.py").write_text("import logging\nlogging.basicConfig(level=1)\n")
    chat = {"model": "default", "messages": [{"role": "user", "content": "x"}], "options": {"num_predict": 2}}
    paths = os.pathsep.join([str(tmp_path / "modules"), str(Path(__file__).parents[3])])
    with LiveServer(tmp_path / "server", config=config, env={"PYTHONPATH": paths}) as server:
        key = KeyStore(tmp_path / "server" / "data" / "bodhi" / "keys.json").create("editor").key
        for slashes in ("/", "//"):
            own = f"{server.url}/bodhi/ollama{slashes}{key}"
            answers = [
                httpx.post(f"{own}/api/chat", json=chat, timeout=60, trust_env=False),
                httpx.post(f"{own}/v1/chat/completions", json={**chat, "max_tokens": 2}, timeout=60, trust_env=False),
                httpx.get(f"{own}/api/tags", headers={"Referer": f"{own}/api/ps"}, trust_env=False),
                httpx.get(f"{own}/nowhere", trust_env=False),
            ]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
        log = server.log()
    assert "POST /bodhi/ollama/***/api/chat" in log
    assert "\nDEBUG:" in log
    assert key not in log


def _ask_everything(url: str, key: str) -> list[int]:
    """The statuses of: the greeting, a route, no route, a wrong method, an unknown one, a defect."""
    own = f"/bodhi/ollama/{key}"
    headers = {"Referer": f"{url}{own}/page"}
    paths = [("HEAD", "/"), ("GET", "/api/echo"), ("GET", "/nowhere"), ("DELETE", "/api/echo"), ("BREW", "/api/echo")]
    # A connection for each: Tornado closes one that brought a method it does not know.
    return [
        httpx.request(method, url + own + path, headers=headers, trust_env=False).status_code
        for method, path in [*paths, ("GET", "/api/boom")]
    ]
