"""How a kernel finds its server, and what is never sent where."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from bodhi_jupyter.notebook import client
from bodhi_jupyter.notebook.client import Server, connect, find_server
from bodhi_jupyter.notebook.errors import PackageMissing, ServerNotFound

INFO = {"hostname": "localhost", "port": 8888, "base_url": "/", "secure": False, "sock": "", "token": "token"}


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_chosen", [])


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            {"OPENAI_BASE_URL": "http://127.0.0.1:8888/user/ann/v1", "OPENAI_API_KEY": "bodhi-1"},
            Server("http://127.0.0.1:8888/user/ann", "bodhi-1"),
        ),
        (
            {"OPENAI_BASE_URL": "http://127.0.0.1:8888/v1/", "OPENAI_API_KEY": "bodhi-1"},
            Server("http://127.0.0.1:8888", "bodhi-1"),
        ),
        (
            # The user's own provider stays the user's; the server is known by another one.
            {
                "OPENAI_BASE_URL": "https://api.example.org/v1",
                "OPENAI_API_KEY": "sk-mine",
                "OLLAMA_HOST": "http://127.0.0.1:8888",
                "OLLAMA_API_KEY": "bodhi-2",
            },
            Server("http://127.0.0.1:8888", "bodhi-2"),
        ),
        (
            {"ANTHROPIC_BASE_URL": "http://127.0.0.1:8888", "ANTHROPIC_AUTH_TOKEN": "bodhi-3"},
            Server("http://127.0.0.1:8888", "bodhi-3"),
        ),
    ],
)
def test_the_environment_names_it(env, expected):
    found = find_server(env)

    assert (found, found.key) == (expected, expected.key)


@pytest.fixture
def posix(monkeypatch: pytest.MonkeyPatch) -> None:
    """``JPY_PARENT_PID`` is an id."""
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OPENAI_BASE_URL": "https://api.example.org/v1", "OPENAI_API_KEY": "sk-mine"},
        {"OPENAI_API_KEY": "bodhi-1"},
        {"JPY_PARENT_PID": "17"},
        {"JPY_PARENT_PID": "../17"},
    ],
)
def test_where_nothing_names_it_the_error_says_what_to_do(env, tmp_path):
    with pytest.raises(ServerNotFound) as raised:
        find_server(env, tmp_path)

    for words in ("jupyter lab", "connect(", "jupyter bodhi key create"):
        assert words in str(raised.value)


@pytest.mark.usefixtures("posix")
@pytest.mark.parametrize(
    ("change", "url"),
    [
        ({}, "http://127.0.0.1:8888"),
        ({"hostname": "0.0.0.0", "base_url": "/user/ann/"}, "http://127.0.0.1:8888/user/ann"),
        ({"hostname": "::"}, "http://[::1]:8888"),
        ({"hostname": "::1"}, "http://[::1]:8888"),
        ({"hostname": "192.0.2.7"}, "http://192.0.2.7:8888"),
        ({"secure": True}, "https://127.0.0.1:8888"),
    ],
)
def test_the_runtime_file_of_the_parent_names_it(change, url, tmp_path):
    (tmp_path / "jpserver-17.json").write_text(json.dumps({**INFO, **change}))

    found = find_server({"JPY_PARENT_PID": "17"}, tmp_path)

    assert (found.url, found.key) == (url, "token")


@pytest.mark.usefixtures("posix")
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({**INFO, "sock": "/run/x.sock"})])
def test_a_runtime_file_that_leads_nowhere_is_passed_over(text, tmp_path):
    (tmp_path / "jpserver-17.json").write_text(text)

    with pytest.raises(ServerNotFound):
        find_server({"JPY_PARENT_PID": "17"}, tmp_path)


class FakeProcess:
    """On Windows: 20 was started by the server, which is 30; of 40 nobody may know."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def ppid(self) -> int:
        if self.pid == 40:
            raise psutil.AccessDenied(self.pid)
        return {20: 30}.get(self.pid, 1)


@pytest.mark.parametrize(
    ("parent", "found"), [(30, True), (20, True), (40, False), (10, False)], ids=["direct", "venv", "denied", "other"]
)
def test_on_windows_the_server_is_found_by_the_processes_that_started_the_kernel(parent, found, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "getppid", lambda: parent)
    monkeypatch.setattr(psutil, "Process", FakeProcess)
    (tmp_path / "jpserver-30.json").write_text(json.dumps(INFO))
    # What is told there is a handle: the file of that number is another server's.
    (tmp_path / "jpserver-17.json").write_text(json.dumps({**INFO, "port": 9999}))
    if found:
        assert find_server({"JPY_PARENT_PID": "17"}, tmp_path).url == "http://127.0.0.1:8888"
    else:
        with pytest.raises(ServerNotFound):
            find_server({"JPY_PARENT_PID": "17"}, tmp_path)


def test_the_environment_comes_before_the_runtime_file(tmp_path):
    (tmp_path / "jpserver-17.json").write_text(json.dumps(INFO))
    env = {"JPY_PARENT_PID": "17", "OLLAMA_HOST": "http://127.0.0.1:1", "OLLAMA_API_KEY": "bodhi-1"}

    assert find_server(env, tmp_path).key == "bodhi-1"


def test_one_that_is_named_stays_the_one():
    named = connect("http://127.0.0.1:9/base/v1/", "bodhi-9")

    assert named == Server("http://127.0.0.1:9/base", "bodhi-9")
    assert connect() == named


def test_an_address_has_to_be_one():
    with pytest.raises(ServerNotFound, match="starts with http"):
        connect("127.0.0.1:8888", "bodhi-9")


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port", "http://host:99999999"])
def test_an_address_that_looks_like_one_has_to_be_one(url):
    with pytest.raises(ServerNotFound, match="no address"):
        connect(url, "bodhi-9")


def test_the_key_is_not_shown():
    assert "bodhi-secret" not in repr(Server("http://127.0.0.1:1", "bodhi-secret"))


@pytest.mark.parametrize("make", [Server.openai, Server.async_openai])
def test_openais_clients_are_led_here(make):
    made = make(Server("http://127.0.0.1:9/base", "bodhi-9"), max_retries=0)

    assert str(made.base_url) == "http://127.0.0.1:9/base/v1/"
    assert (made.api_key, made.max_retries) == ("bodhi-9", 0)
    assert isinstance(made, openai.OpenAI | openai.AsyncOpenAI)


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://127.0.0.1:9", False),
        ("http://localhost:9", False),
        ("http://[::1]:9", False),
        ("http://192.0.2.7", True),
    ],
)
def test_a_proxy_of_the_environment_sees_nothing_of_this_machines(url, proxied, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:2")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Server(url, "bodhi-9").http() as http:
        transport = http._transport_for_url(httpx.URL(url))

        assert (transport is not http._transport) == proxied


def test_without_openais_client_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)

    with pytest.raises(PackageMissing, match="%pip install openai"):
        Server("http://127.0.0.1:9", "").openai()


def test_a_server_of_this_machine_with_its_own_certificate(monkeypatch, tmp_path: Path):
    loaded: list[Any] = []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    monkeypatch.setattr(client.ssl, "create_default_context", lambda cafile: loaded.append(cafile))

    Server("https://127.0.0.1:9", "").httpx_options()

    assert loaded == [str(tmp_path / "own.pem")]
