"""The model browser's forms: where errors go, and work that ends when they are no longer there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from bodhi_jupyter.notebook.alias_form import AliasForm
from bodhi_jupyter.notebook.background import start
from bodhi_jupyter.notebook.model_browser import ModelBrowser
from tests.notebook.model_api import TUTOR, Api, asked, buttons, finish, model, names, widgets_in
from tests.notebook.servers import ScriptedServer, refusal


def form_of(browser: ModelBrowser) -> AliasForm:
    """The form that is open."""
    return next(widget for widget in widgets_in(browser) if isinstance(widget, AliasForm))


def test_a_change_keeps_what_has_no_field_and_what_another_changed(browser, begun, server):
    browser.selected = "org/tutor"
    buttons(browser)["Edit"].click()
    finish(begun)
    form = form_of(browser)
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


@pytest.mark.parametrize("button", ["New alias", "Edit"])
def test_the_files_that_are_there_can_be_chosen_from(browser, begun, button):
    browser.selected = "org/tutor"
    buttons(browser)[button].click()
    finish(begun)

    assert form_of(browser).fields["path"].input.options == ("/models/a.gguf",)


@pytest.mark.parametrize(("status", "told"), [(404, False), (500, True)])
def test_a_server_that_tells_of_no_files_leaves_them_to_be_typed(browser, begun, api, status, told):
    api.wrong["GET /bodhi/v1/targets"] = refusal(status, "It is broken.")
    buttons(browser)["New alias"].click()
    finish(begun)

    assert form_of(browser).fields["path"].input.options == ()
    assert ("It is broken." in browser.message.value) is told


@pytest.mark.parametrize("other", ["Pull a model", "New alias"])
def test_a_form_in_which_something_was_written_comes_back_after_another(browser, other):
    close = {"Pull a model": "Close", "New alias": "Cancel"}[other]
    buttons(browser)["New alias"].click()
    form = form_of(browser)
    form.fields["request_params.system_prompt"].text = "Be kind."
    buttons(browser)[other].click()
    assert form not in list(widgets_in(browser))

    buttons(browser)[close].click()
    assert form_of(browser) is form
    assert form.fields["request_params.system_prompt"].text == "Be kind."
    assert browser.details not in list(widgets_in(browser))

    buttons(browser)["Cancel"].click()
    assert browser.details in list(widgets_in(browser))
    assert form.comm is None


def test_an_untouched_form_does_not_come_back(browser, begun):
    browser.selected = "org/tutor"
    buttons(browser)["Edit"].click()
    finish(begun)
    form = form_of(browser)
    buttons(browser)["Pull a model"].click()
    assert form.comm is None

    buttons(browser)["Close"].click()
    assert browser.details in list(widgets_in(browser))


def test_what_was_put_aside_is_closed_with_the_browser(browser):
    buttons(browser)["New alias"].click()
    form = form_of(browser)
    form.fields["alias"].text = "new"
    buttons(browser)["Pull a model"].click()
    assert form.comm is not None
    browser.close()
    assert form.comm is None


def test_an_alias_whose_name_was_emptied_keeps_it(browser, begun, server):
    browser.selected = "org/tutor"
    buttons(browser)["Edit"].click()
    finish(begun)
    form_of(browser).fields["alias"].text = ""
    buttons(browser)["Save"].click()
    finish(begun)

    (put,) = [request for request in server.seen if request.method == "PUT"]
    assert "alias" not in json.loads(put.content)
    assert "org/tutor is saved." in browser.message.value
    assert browser.selected == "org/tutor"


def test_the_servers_error_stands_at_its_field(browser, begun, api):
    buttons(browser)["New alias"].click()
    form = form_of(browser)
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

    answer = {"error": {"message": "Invalid 'alias': no."}, "faults": [{"param": "alias", "message": "No blanks."}]}
    api.wrong["POST"] = httpx.Response(400, json=answer)
    buttons(browser)["Copy"].click()
    finish(begun)
    assert field.problem.value == "No blanks."

    api.wrong.clear()
    api.models.append(model("mine", "user"))
    buttons(browser)["Copy"].click()
    finish(begun)
    assert (browser.selected, names(browser)[-1]) == ("mine", "mine")


@pytest.mark.parametrize(("ask", "press"), [("New alias", "Save"), ("Edit", "Save"), ("Copy", "Copy")])
def test_a_models_name_is_taken(browser, begun, server, ask, press):
    browser.selected = "org/tutor"
    buttons(browser)[ask].click()
    finish(begun)
    form = browser._drawer.form
    field = form.new_name if ask == "Copy" else form.fields["alias"]
    field.text = "found"
    before = len(asked(server))
    buttons(browser)[press].click()
    finish(begun)

    assert field.problem.value == "There is a model found already."
    assert len(asked(server)) == before
    assert not buttons(browser)[press].disabled


@pytest.mark.parametrize(
    ("ask", "press"), [("New alias", "Save"), ("Edit", "Save"), ("Copy", "Copy"), ("Pull a model", "Pull")]
)
@pytest.mark.parametrize("begins", ["opens", "fails"])
def test_what_went_well_before_is_not_said_of_what_fails_now(browser, begun, api, ask, press, begins):
    browser.selected = "org/tutor"
    finish(begun)
    if begins == "opens":
        browser.message.say("found is saved.")
    buttons(browser)[ask].click()
    finish(begun)
    assert browser.message.value == ""

    if begins == "fails":
        browser.message.say("found is saved.")
    if ask == "Pull a model":
        browser._drawer.form.name.text = "a/b"
    api.wrong |= {method: refusal(400, "Not so.", "alias") for method in ("POST", "PUT")}
    buttons(browser)[press].click()
    finish(begun)
    assert browser.message.value == ""


def test_what_was_done_with_a_model_is_not_said_beside_another(browser, begun):
    browser.selected = "found"
    buttons(browser)["Load"].click()
    finish(begun)
    assert "found is loaded." in browser.message.value

    browser.selected = "org/tutor"
    finish(begun)
    assert browser.message.value == ""


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


def test_pulling(browser, begun, api, server):
    buttons(browser)["Pull a model"].click()
    form = browser._drawer.form
    api.wrong["POST /api/pull"] = httpx.Response(400, json={"error": "invalid model name"})
    form.name.text = "?"
    buttons(browser)["Pull"].click()
    finish(begun)
    assert form.name.problem.value == "Invalid model name."

    api.wrong["POST /api/pull"] = UNREACHABLE
    buttons(browser)["Pull"].click()
    finish(begun)
    assert form.name.problem.value == "The hub is silent."

    api.wrong["POST /api/pull"] = httpx.Response(200, content='{"status":"pulling"}\n{"error":"the disk is full"}\n')
    buttons(browser)["Pull"].click()
    finish(begun)
    assert form.name.problem.value == "The disk is full."

    before = len(asked(server))
    form.name.text = " "
    buttons(browser)["Pull"].click()
    assert form.name.problem.value == "This field is missing."
    assert len(asked(server)) == before

    api.wrong.clear()
    form.name.text = "acme/small"
    buttons(browser)["Pull"].click()
    finish(begun)
    assert "acme/small is here." in browser.message.value


@pytest.fixture
def lost(api: Api, browser: ModelBrowser) -> dict[str, Any]:
    """An alias whose file is not there."""
    lost = {"alias": "lost", "path": "gone.gguf", "read_only": False, "modified": 7}
    lost |= {"problem": "the file is not on this machine", "problem_param": "path"}
    api.aliases[:] = [lost]
    start(browser._look_again()).result(10)
    return lost


def test_what_an_alias_lacks_stands_at_its_field_when_it_is_changed(browser, begun, server, lost):
    browser.selected = "lost"
    buttons(browser)["Edit"].click()
    finish(begun)

    assert form_of(browser).fields["path"].problem.value == "The file is not on this machine."
    buttons(browser)["Save"].click()
    finish(begun)
    (put,) = [request for request in server.seen if request.method == "PUT"]
    assert json.loads(put.content) == {"alias": "lost", "path": "gone.gguf"}


@pytest.mark.parametrize("param", ["context_params.lora[0]", None])
def test_what_it_lacks_may_have_no_field(browser, begun, lost, param):
    lost["problem_param"] = param
    browser.selected = "lost"
    buttons(browser)["Edit"].click()
    finish(begun)

    form = form_of(browser)
    problem = form.problem if param is None else form._more["context_params"].problem
    assert problem.value == "The file is not on this machine."


@pytest.mark.parametrize(("method", "label"), [("POST", "New alias"), ("PUT", "Edit")])
def test_what_is_saved_and_cannot_be_used_yet_is_told(browser, begun, api, method, label):
    browser.selected = "org/tutor"
    buttons(browser)[label].click()
    finish(begun)
    form_of(browser).fields["alias"].text = "mine"
    saved = {"alias": "mine", "read_only": False, "problem": "the file is not on this machine"}
    api.wrong[method] = httpx.Response(201, json=saved)
    api.aliases.append(saved)
    buttons(browser)["Save"].click()
    finish(begun)

    assert browser._drawer.form is None
    assert "mine is saved, but: the file is not on this machine." in browser.message.value


class Held:
    """Answers to changes are held back until they are let go; the browser's thread stands still meanwhile."""

    def __init__(self, api: Api, answer: httpx.Response) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()
        self._api, self._answer = api, answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and not request.url.path.startswith("/bodhi/v1/aliases/"):
            return self._api(request)
        self.arrived.set()
        assert self.go_on.wait(20)
        return self._answer

    def finish(self, begun: list[Future[Any]]) -> None:
        self.go_on.set()
        finish(begun)


@pytest.fixture
def hold(server: ScriptedServer, api: Api) -> Callable[[httpx.Response], Held]:
    def hold(answer: httpx.Response) -> Held:
        held = Held(api, answer)
        object.__setattr__(server, "answer", held)
        return held

    return hold


SAVED = httpx.Response(201, json={"alias": "mine"})
UNREACHABLE = httpx.Response(502, json={"error": "pull model manifest: the hub is silent"})


@pytest.mark.parametrize(
    ("ask", "press", "answer", "told"),
    [
        ("New alias", "Save", SAVED, "mine is saved."),
        ("New alias", "Save", refusal(409, "There is already an alias 'mine'.", "alias"), "There is already an alias"),
        ("Copy", "Copy", SAVED, "mine is made."),
        ("Copy", "Copy", refusal(409, "There is already an alias 'mine'.", "alias"), "There is already an alias"),
        ("Pull a model", "Pull", httpx.Response(400, json={"error": "invalid model name"}), "Invalid model name."),
        ("Pull a model", "Pull", UNREACHABLE, "The hub is silent."),
    ],
)
def test_what_ends_late_touches_no_other_form(browser, begun, api, hold, ask, press, answer, told):
    browser.selected = "found"
    finish(begun)
    api.models.append(model("mine", "user"))
    held = hold(answer)
    buttons(browser)[ask].click()
    fields = {"New alias": lambda form: form.fields["alias"], "Copy": lambda form: form.new_name}
    fields["Pull a model"] = lambda form: form.name
    fields[ask](browser._drawer.form).text = "mine"
    buttons(browser)[press].click()
    assert held.arrived.wait(20)
    browser._drawer.clear()
    buttons(browser)["New alias"].click()
    other = browser._drawer.form
    held.finish(begun)

    assert browser._drawer.form is other
    assert told in browser.message.value


def test_a_form_that_was_put_aside_goes_once_it_is_saved(browser, begun, api, hold):
    api.models.append(model("mine", "user"))
    held = hold(SAVED)
    buttons(browser)["New alias"].click()
    form = form_of(browser)
    form.fields["alias"].text = "mine"
    buttons(browser)["Save"].click()
    assert held.arrived.wait(20)
    buttons(browser)["Pull a model"].click()
    held.finish(begun)
    assert "mine is saved." in browser.message.value
    buttons(browser)["Close"].click()
    assert browser._drawer.form is None
    assert form.comm is None


def test_a_form_that_comes_late_takes_no_others_place(browser, begun, hold):
    browser.selected = "org/tutor"
    finish(begun)
    held = hold(httpx.Response(200, json=dict(TUTOR)))
    buttons(browser)["Edit"].click()
    assert held.arrived.wait(20)
    buttons(browser)["New alias"].click()
    other = browser._drawer.form
    held.finish(begun)

    assert browser._drawer.form is other


def test_the_question_is_gone_at_once_and_no_other_form_with_it(browser, begun, hold):
    browser.selected = "org/tutor"
    finish(begun)
    buttons(browser)["Delete"].click()
    held = hold(httpx.Response(204))
    buttons(browser)["Delete"].click()
    assert browser._drawer.form is None
    assert held.arrived.wait(20)
    buttons(browser)["New alias"].click()
    other = browser._drawer.form
    held.finish(begun)

    assert browser._drawer.form is other
