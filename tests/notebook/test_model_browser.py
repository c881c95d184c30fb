"""The model browser without a page: what it asks, and what it shows."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.chat import Choice
from bodhi_jupyter.notebook.model_browser import ModelBrowser
from tests.notebook.model_api import asked, buttons, finish, model, names
from tests.notebook.servers import refusal


def test_all_models_with_their_states(browser):
    assert [(row["name"], row["state"], row["mark"]) for row in browser.table.rows] == [
        ("org/tutor", "not loaded", "off"),
        ("found", "not loaded", "off"),
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
        ("vectors", {"Load", "Copy"}),
        ("unread", {"Use", "Load", "Copy"}),
    ],
)
def test_what_can_be_done_with_a_model(browser, begun, api, name, shown):
    api.models += [model("vectors", "local", capabilities=["embedding"]), model("unread", "local", capabilities=[])]
    start(browser.look()).result(10)
    browser.selected = name
    finish(begun)

    assert set(buttons(browser)) - {"New alias", "Pull a model"} == shown


def test_an_alias_says_what_it_stands_for(browser, begun):
    alias, found = browser.table.rows[:2]
    assert (alias["alias_of"], alias["defaults"]) == ("a", "top k 3")
    assert found["alias_of"] == ""

    browser.selected = "org/tutor"
    finish(begun)
    assert "<dt>Alias of</dt><dd>a</dd>" in browser.details._facts.value


def test_news_keep_what_is_looked_at(browser, begun, api):
    browser.selected = "found"
    finish(begun)
    api.models[0]["meta"]["state"] = "loaded"
    api.models.reverse()
    start(browser.look()).result(10)

    assert browser.table.selected == "found"
    assert "found" in browser.details._facts.value


def test_the_details_are_as_new_as_the_list(browser, begun, api, server):
    api.models[0] = {**model("org/tutor", "user", n_ctx=2048), "description": "Old."}
    start(browser.look()).result(10)
    browser.selected = "org/tutor"
    finish(begun)
    server.seen.clear()
    api.models[0] = {**model("org/tutor", "user", state="loaded", n_ctx=2048), "description": "Old."}
    start(browser.look()).result(10)
    finish(begun)
    # That a model is loaded is no reason to read its file again.
    assert "GET /v1/models/org/tutor" not in asked(server)

    api.models[0] = {**model("org/tutor", "user", n_ctx=4096), "description": "New."}
    start(browser.look()).result(10)
    finish(begun)
    assert asked(server).count("GET /v1/models/org/tutor") == 1
    for fact in ("New.", "4,096"):
        assert fact in browser.details._facts.value


def test_what_is_chosen_again_is_read_again(browser, begun, api):
    browser.selected = "found"
    finish(begun)
    # Of the list's own facts none changed.
    told = {**api.models[1], "meta": {**api.models[1]["meta"], "size": 5_000_000_000}}
    api.wrong["GET /v1/models/found"] = httpx.Response(200, json=told)
    browser.selected = "remote"
    browser.selected = "found"
    finish(begun)
    assert "5 GB" in browser.details._facts.value


def test_what_was_read_of_a_model_stays_when_something_is_done_with_it(browser, begun, api):
    told = model("found", "local", n_params=7_600_000_000)
    api.wrong["GET /v1/models/found"] = httpx.Response(200, json=told)
    browser.selected = "found"
    finish(begun)
    assert "7.6 B" in browser.details._facts.value
    buttons(browser)["Load"].click()
    finish(begun)
    assert "found is loaded." in browser.message.value
    assert "7.6 B" in browser.details._facts.value


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


def test_why_a_model_cannot_be_used_is_told(browser, begun, api):
    api.models.append(model("vectors", "local", capabilities=["embedding"]))
    start(browser.look()).result(10)
    browser.selected = "vectors"
    finish(begun)

    assert "It writes no text" in browser.details._facts.value


def test_what_is_used_is_asked_in_cells_too(browser):
    browser.selected = "found"
    buttons(browser)["Use"].click()

    assert "Questions go to found." in browser.message.value
    assert Choice.model == "found"


def test_loading_says_how_it_went(browser, begun, api, server):
    browser.selected = "found"
    buttons(browser)["Load"].click()
    finish(begun)
    assert "found is loaded." in browser.message.value
    assert "POST /bodhi/v1/models/found/load" in asked(server)

    api.wrong["POST"] = refusal(503, "It is cut off. (POST /bodhi/v1/models/found/load, model 'found')")
    buttons(browser)["Load"].click()
    finish(begun)
    assert (browser.message.role, browser.message.value) == ("alert", "It is cut off.")
    assert not buttons(browser)["Load"].disabled


@pytest.mark.parametrize(("state", "shown"), [("loading", True), ("loaded", False), ("draining", True)])
def test_what_hangs_can_be_stopped(browser, begun, api, server, state, shown):
    api.models = [model("found", "local", state=state)]
    start(browser.look()).result(10)
    browser.selected = "found"
    finish(begun)
    assert ("Stop now" in buttons(browser)) is shown
    if shown:
        buttons(browser)["Stop now"].click()
        finish(begun)
        assert "found is stopped." in browser.message.value
        assert "POST /bodhi/v1/models/found/stop" in asked(server)


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

    api.pulls = [{**pull, "state": "failed", "error": "pull model manifest: the hub is silent"}]
    start(browser.look()).result(10)
    assert "> the hub is silent · " in row._title.value

    buttons(browser)["Close"].click()
    assert browser.pulls.children == ()
    start(browser.look()).result(10)
    assert browser.pulls.children == ()


def test_a_server_that_went_away_and_came_back(browser, api):
    api.wrong["GET /bodhi/v1/models"] = refusal(401, "This key is no longer valid.")
    start(browser.look()).result(10)
    assert (browser.message.role, browser.message.value) == ("alert", "This key is no longer valid.")
    assert names(browser) == ["org/tutor", "found", "remote"]

    browser.message.value = ""  # the person has closed it
    start(browser.look()).result(10)
    assert browser.message.value == ""
    api.wrong["GET /bodhi/v1/models"] = refusal(503, "It stops.")
    start(browser.look()).result(10)
    assert browser.message.value == "It stops."

    api.wrong.clear()
    start(browser.look()).result(10)
    assert browser.message.value == ""
    api.wrong["GET /bodhi/v1/models"] = refusal(503, "It stops.")
    start(browser.look()).result(10)
    assert browser.message.value == "It stops."


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

    assert browser.message.value == "Something went wrong (LookupError)."
    assert "something inside" in caplog.text


def test_once_closed_it_does_nothing(server, begun):
    browser = ModelBrowser(server)
    held = asyncio.Event()
    browser._start(asyncio.wait_for(held.wait(), 30))
    waiting = begun[-1]
    browser.close()

    assert waiting.cancelled()
