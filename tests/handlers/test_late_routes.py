"""Routes that are loaded after the start: who waits for them, who does not, and who gets the request in the end."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import warnings
from collections.abc import Iterator

import pytest
from tornado import web

from bodhi_jupyter.handlers.late_routes import OURS, Routes, _HandlerRouter
from bodhi_jupyter.routes import KEYED_ROUTES, ROUTES

CHAT = {"model": "fake-model", "messages": [{"role": "user", "content": "hello " * 10_000}]}


class Gate:
    """Holds up the loading, in its thread."""

    def __init__(self, load) -> None:
        self._load = load
        self._open = threading.Event()
        self.calls = 0

    def __call__(self) -> Routes:
        self.calls += 1
        assert self._open.wait(20)
        return self._load()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(extension, monkeypatch) -> Iterator[Gate]:
    gate = Gate(extension._routes._load)
    monkeypatch.setattr(extension._routes, "_load", gate)
    yield gate
    gate.open()


async def test_requests_wait_with_their_bodies_and_jupyters_own_do_not(client, extension, gate, eventually) -> None:
    asked = [asyncio.create_task(client.post("/v1/chat/completions", json=CHAT)) for _ in range(3)]
    await eventually(lambda: gate.calls)
    assert (await client.get("/api/status")).status_code == 200
    assert (await client.get("/api/contents")).status_code == 200
    assert not any(task.done() for task in asked)
    gate.open()
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200, 200]
    assert gate.calls == 1


async def test_nothing_is_made_before_the_first_request(client, extension) -> None:
    assert (await client.get("/api/status")).status_code == 200
    assert extension.current_activity() is None
    assert extension._services is None
    assert (await client.get("/v1/models")).status_code == 200
    assert extension._services is not None


async def test_what_turns_out_not_to_be_ours_is_jupyters(client, gate) -> None:
    gate.open()
    for path in ("/bokeh/app.js", "/v1beta/models", "/api/tagsets", "/bodhisattva"):
        answer = await client.get(path)
        assert (answer.status_code, "x-request-id" in answer.headers) == (404, False), path
    assert gate.calls == 1


async def test_a_client_that_leaves_meanwhile_hurts_nobody(client, server_url, gate, eventually, caplog) -> None:
    leaving = asyncio.create_task(client.get("/v1/models"))
    await eventually(lambda: gate.calls)
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.open()
    assert (await client.get("/v1/models")).status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_cannot_be_loaded_is_told_and_tried_again(client, extension, monkeypatch, caplog) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(extension._routes, "_load", lambda: 1 / 0)
        own = "/bodhi/ollama/bodhi-secret/api/tags"
        answer = await client.get(own, headers={"Referer": own})
    assert answer.status_code == 500
    assert "bodhi_jupyter could not be loaded" in caplog.text
    of_the_server = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert "bodhi-secret" not in answer.text + "".join(of_the_server)
    assert (await client.get("/v1/models")).status_code == 200


def test_no_route_of_ours_is_left_out() -> None:
    plain = [re.match(r"[/\w]+", pattern.replace("/+", "/")) for pattern, _ in [*ROUTES, *KEYED_ROUTES[:-1]]]
    assert all(begin and re.match(OURS, begin[0]) for begin in plain)


def test_what_names_a_path_is_the_first_that_fits_it() -> None:
    routes = [*ROUTES, *KEYED_ROUTES]
    fixed = [pattern for pattern, _ in routes if re.fullmatch(r"[/\w-]+", pattern)]
    assert "/api/chat" in fixed
    assert "/v1/chat/completions" in fixed
    for path in fixed:
        assert next(pattern for pattern, _ in routes if re.fullmatch(pattern, path)) == path


def test_jupyters_own_pages_are_never_kept_waiting() -> None:
    for path in (
        "/",
        "/lab",
        "/tree",
        "/login",
        "/metrics",
        "/api",
        "/api/status",
        "/api/kernels",
        "/api/me",
        "/static/x",
    ):
        assert not re.match(OURS, path), path


def test_every_method_asks_who_calls(jp_serverapp) -> None:
    # Jupyter warns of handlers without their decorators where it is given them; ours it never sees.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jp_serverapp.web_app.add_handlers("nowhere.example", [*ROUTES, *KEYED_ROUTES])


def test_a_dot_in_a_persons_name_hides_no_path() -> None:
    application = web.Application(base_url="/user/ann.smith/")
    fixed = [set(_HandlerRouter(app, ROUTES)._fixed) for app in (application, web.Application(base_url="/"))]
    assert fixed[0] == {f"/user/ann.smith{path}" for path in fixed[1]}
    assert "/v1/chat/completions" in fixed[1]
