"""The model browser without a page: what it asks, what it shows, and where errors go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from bodhi_jupyter.notebook import model_browser
from bodhi_jupyter.notebook.alias_form import AliasForm
from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.model_browser import ModelBrowser
from tests.notebook.servers import ScriptedServer, refusal

TUTOR = {"alias": "org/tutor", "path": "a.gguf", "request_params": {"top_k": 3}, "read_only": False, "modified": 7}


class Api:
    """What the server would say; a test changes it."""

    def __init__(self) -> None:
        self.models = [model("org/tutor", "user"), model("found", "local"), model("remote", "gpu-box", state=None)]
        self.aliases = [dict(TUTOR)]
        self.broken: list[dict[str, Any]] = []
        self.pulls: list[dict[str, Any]] = []
        self.wrong: dict[str, httpx.Response] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, method = unquote(request.url.raw_path.decode()), request.method
        for start_of_path, response in self.wrong.items():
            if f"{method} {path}".startswith(start_of_path):
                return response
        if path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            return httpx.Response(200, json=next(entry for entry in self.models if entry["id"] == name))
        if path == "/bodhi/v1/models":
            return httpx.Response(200, json={"data": self.models})
        if path == "/bodhi/v1/backends":
            well = {"id": "local", "ok": True, "detail": "fine"}
            return httpx.Response(200, json={"data": [well, {"id": "gpu-box", "ok": False, "detail": "silent"}]})
        if path == "/bodhi/v1/pulls":
            return httpx.Response(200, json={"data": self.pulls})
        if path == "/api/pull":
            lines = [{"status": "pulling"}, {"status": "success"}]
            return httpx.Response(200, content="\n".join(map(json.dumps, lines)))
        return self._alias(request, path, method)

    def _alias(self, request: httpx.Request, path: str, method: str) -> httpx.Response:
        if method == "GET" and path == "/bodhi/v1/aliases":
            return httpx.Response(200, json={"data": self.aliases, "broken": self.broken})
        if method == "GET":
            return httpx.Response(200, json=self.aliases[0], headers={"ETag": '"e1"'})
        if method == "DELETE":
            return httpx.Response(204)
        return httpx.Response(200, json=json.loads(request.content or b"{}"))


def model(name: str, source: str, state: str | None = "idle", **meta: Any) -> dict[str, Any]:
    backend = "local" if state else source
    return {
        "id": name,
        "owned_by": source,
        "meta": {"backend": backend, "state": state, "capabilities": ["tools"], **meta},
    }


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def server(api: Api) -> ScriptedServer:
    return ScriptedServer(answer=api)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Future[Any]]:
    """All work that the browser began."""
    begun: list[Future[Any]] = []

    def noted(work: Any) -> Future[Any]:
        begun.append(start(work))
        return begun[-1]

    monkeypatch.setattr(model_browser, "start", noted)
    return begun


@pytest.fixture
def browser(server: ScriptedServer, begun: list[Future[Any]]) -> Iterator[ModelBrowser]:
    browser = ModelBrowser(server)
    start(browser.look()).result(10)
    yield browser
    browser.close()


def finish(begun: list[Future[Any]]) -> None:
    while begun:
        begun.pop().result(10)


def names(browser: ModelBrowser) -> list[str]:
    return [row["name"] for row in browser.table.rows]


def buttons(browser: ModelBrowser) -> dict[str, Any]:
    """Those that are shown, by their labels."""
    return {widget.description: widget for widget in widgets_in(browser) if type(widget).__name__ == "Button"}


def widgets_in(widget: Any) -> Iterator[Any]:
    """All that can be seen."""
    for child in getattr(widget, "children", ()):
        if child.layout.display != "none":
            yield child
            yield from widgets_in(child)


def asked(server: ScriptedServer) -> list[str]:
    return [f"{request.method} {unquote(request.url.raw_path.decode())}" for request in server.seen]


def test_all_models_with_their_states(browser):
    assert [(row["name"], row["state"], row["mark"]) for row in browser.table.rows] == [
        ("org/tutor", "idle", "off"),
        ("found", "idle", "off"),
        ("remote", "unreachable", "bad"),
    ]
    assert "gpu-box: silent" in browser._summary.value


@pytest.mark.parametrize(
    ("search", "source", "left"),
    [
        ("TUT", "", ["org/tutor"]),
        ("", "local", ["found"]),
        ("tut", "local", []),
        ("", "", ["org/tutor", "found", "remote"]),
    ],
)
def test_search_and_filters(browser, search, source, left):
    browser.search.value, browser.source.value = search, source

    assert names(browser) == left
    assert browser.table.empty == "No model fits the search and the filters."


def test_a_filter_stays_while_its_value_is_there(browser, api):
    browser.source.value = "local"
    api.models.append(model("new", "other"))
    start(browser.look()).result(10)
    assert browser.source.value == "local"

    api.models = [entry for entry in api.models if entry["owned_by"] != "local"]
    start(browser.look()).result(10)
    assert browser.source.value == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("org/tutor", {"Use", "Load", "Edit", "Copy", "Delete"}),
        ("found", {"Use", "Load", "Copy"}),
        ("remote", {"Use", "Copy"}),
    ],
)
def test_what_can_be_done_with_a_model(browser, begun, name, shown):
    browser.selected = name
    finish(begun)

    assert set(buttons(browser)) - {"New alias", "Pull a model"} == shown


def test_news_keep_what_is_looked_at(browser, begun, api):
    browser.selected = "found"
    finish(begun)
    api.models[0]["meta"]["state"] = "loaded"
    api.models.reverse()
    start(browser.look()).result(10)

    assert browser.table.selected == "found"
    assert "found" in browser.details._facts.value


def test_an_alias_without_its_model_is_listed_with_the_reason(browser, begun, api, server):
    lost = {"alias": "lost", "path": "gone.gguf", "read_only": False, "problem": "the file is not on this machine"}
    api.aliases.append(lost)
    start(browser._look_again()).result(10)
    row = browser.table.rows[-1]
    assert (row["name"], row["state"], row["mark"]) == ("lost", "missing", "bad")
    assert row["reason"] == "The file is not on this machine."
    assert "lost" not in browser.names

    browser.selected = "lost"
    finish(begun)
    assert set(buttons(browser)) - {"New alias", "Pull a model"} == {"Edit", "Copy", "Delete"}
    assert "The file is not on this machine." in browser.details._facts.value
    assert "GET /v1/models/lost" not in asked(server)
    assert browser.message.value == ""


def test_files_that_say_no_alias_are_named(browser, api):
    api.broken.append({"name": "torn.yaml", "line": 2, "reason": "a mapping is <expected>"})
    start(browser._look_again()).result(10)

    assert "torn.yaml, line 2 says no alias: a mapping is &lt;expected&gt;" in browser._summary.value


def test_using_the_same_model_again_is_news(browser):
    used: list[str] = []
    browser.observe(lambda change: used.append(change["new"]), "used")
    browser.selected = "found"
    for _ in range(2):
        buttons(browser)["Use"].click()

    assert [name for name in used if name] == ["found", "found"]


def test_loading_says_how_it_went(browser, begun, api, server):
    browser.selected = "found"
    buttons(browser)["Load"].click()
    finish(begun)
    assert "found is loaded." in browser.message.value
    assert "POST /bodhi/v1/models/found/load" in asked(server)

    api.wrong["POST"] = refusal(503, "It is cut off. (POST /bodhi/v1/models/found/load, model 'found')")
    buttons(browser)["Load"].click()
    finish(begun)
    assert ">It is cut off.<" in browser.message.value
    assert not buttons(browser)["Load"].disabled


def test_a_change_keeps_what_has_no_field_and_what_another_changed(browser, begun, server):
    browser.selected = "org/tutor"
    buttons(browser)["Edit"].click()
    finish(begun)
    form = next(widget for widget in widgets_in(browser) if isinstance(widget, AliasForm))
    form.fields["request_params.temperature"].text = "0.5"
    buttons(browser)["Save"].click()
    finish(begun)

    (put,) = [request for request in server.seen if request.method == "PUT"]
    assert put.url.raw_path == b"/bodhi/v1/aliases/org%2Ftutor"
    assert put.headers["If-Match"] == '"e1"'
    assert json.loads(put.content) == {
        "alias": "org/tutor",
        "path": "a.gguf",
        "request_params": {"top_k": 3, "temperature": 0.5},
    }
    assert "org/tutor is saved." in browser.message.value


def test_the_servers_error_stands_at_its_field(browser, begun, api):
    buttons(browser)["New alias"].click()
    form = next(widget for widget in widgets_in(browser) if isinstance(widget, AliasForm))
    api.wrong["POST"] = refusal(400, "Too <hot>.", "request_params.temperature")
    form.fields["request_params.temperature"].text = "9"
    buttons(browser)["Save"].click()
    finish(begun)

    assert form.fields["request_params.temperature"].problem.value == "Too <hot>."
    assert not buttons(browser)["Save"].disabled


def test_a_copy_is_selected_and_a_taken_name_is_said_at_the_field(browser, begun, api):
    browser.selected = "found"
    buttons(browser)["Copy"].click()
    field = next(widget for widget in widgets_in(browser) if type(widget).__name__ == "Field")
    api.wrong["POST"] = refusal(409, "There is already an alias 'mine'.", "alias")
    field.text = "mine"
    buttons(browser)["Copy"].click()
    finish(begun)
    assert "already an alias" in field.problem.value

    api.wrong.clear()
    api.models.append(model("mine", "user"))
    buttons(browser)["Copy"].click()
    finish(begun)
    assert (browser.selected, names(browser)[-1]) == ("mine", "mine")


def test_deleting_asks_first(browser, begun, server):
    browser.selected = "org/tutor"
    buttons(browser)["Delete"].click()
    assert "DELETE" not in " ".join(asked(server))
    buttons(browser)["Keep"].click()
    assert "Keep" not in buttons(browser)

    buttons(browser)["Delete"].click()
    buttons(browser)["Delete"].click()
    finish(begun)
    assert "DELETE /bodhi/v1/aliases/org/tutor" in asked(server)
    assert browser.selected == ""


def test_pulling(browser, begun, api):
    buttons(browser)["Pull a model"].click()
    form = browser._drawer.children[0]
    api.wrong["POST /api/pull"] = httpx.Response(400, json={"error": "invalid model name"})
    form.name.text = "?"
    buttons(browser)["Pull"].click()
    finish(begun)
    assert "invalid model name" in form.name.problem.value

    api.wrong["POST /api/pull"] = httpx.Response(200, content='{"status":"pulling"}\n{"error":"the disk is full"}\n')
    buttons(browser)["Pull"].click()
    finish(begun)
    assert "the disk is full" in form.name.problem.value

    api.wrong.clear()
    form.name.text = "acme/small"
    buttons(browser)["Pull"].click()
    finish(begun)
    assert "acme/small is here." in browser.message.value


def test_pulls_under_way_can_be_cancelled_and_stay_to_their_end(browser, begun, api, server):
    pull = {
        "id": "p1",
        "model": "<b>",
        "state": "running",
        "status": "pulling",
        "total": 200,
        "completed": 50,
        "error": "",
    }
    over = {**pull, "id": "p0", "state": "failed", "error": "long ago"}
    api.pulls = [pull, over]
    start(browser.look()).result(10)
    (row,) = browser.pulls.children
    assert row._bar.value == 0.25
    assert "50 B of 200 B" in row._title.value
    assert "<b><b>" not in row._title.value

    buttons(browser)["Cancel"].click()
    finish(begun)
    assert "DELETE /bodhi/v1/pulls/p1" in asked(server)

    api.pulls = [{**pull, "state": "cancelled"}]
    start(browser.look()).result(10)
    assert browser.pulls.children == (row,)
    assert "cancelled" in row._title.value


def test_a_server_that_went_away_and_came_back(browser, api):
    api.wrong["GET /bodhi/v1/models"] = refusal(401, "This key is no longer valid.")
    start(browser.look()).result(10)
    assert 'role="alert"' in browser.message.value
    assert names(browser) == ["org/tutor", "found", "remote"]

    api.wrong.clear()
    start(browser.look()).result(10)
    assert browser.message.value == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(302, headers={"Location": "/hub/login"}), "perhaps to a login (status 302)"),
        (httpx.Response(200, html="<h1>Log in</h1>"), "no Jupyter server with bodhi-jupyter"),
        (httpx.Response(200, json=["no object"]), "no Jupyter server with bodhi-jupyter"),
        (httpx.Response(200, json={"models": []}), "no Jupyter server with bodhi-jupyter"),
        (httpx.Response(200, json={"data": [{"name": "no id"}]}), "Something went wrong (KeyError)."),
    ],
)
def test_whatever_is_answered_the_person_is_told(browser, api, answer, words):
    api.wrong["GET /bodhi/v1/models"] = answer
    start(browser.look()).result(10)

    assert words in browser.message.value
    assert browser.table.empty == ""


def test_what_nobody_foresaw_is_told_too_and_logged(browser, begun, caplog):
    async def fails() -> None:
        raise LookupError("something inside")

    with caplog.at_level("INFO"):
        browser._start(fails())
        finish(begun)

    assert ">Something went wrong (LookupError).<" in browser.message.value
    assert "something inside" in caplog.text


def test_once_closed_it_does_nothing(server, begun):
    browser = ModelBrowser(server)
    held = asyncio.Event()
    browser._start(asyncio.wait_for(held.wait(), 30))
    waiting, *_ = begun
    browser.close()

    assert waiting.cancelled()
