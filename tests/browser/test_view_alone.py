"""The chat in a page of its own: no Jupyter, and a kernel that the test plays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bodhi_jupyter.notebook.view import style, view_module
from tests.browser.notebook_page import ChatPage
from tests.notebook.node import FAKE_MODEL

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

#: Each call loads the module anew, as anywidget does for each widget.
SHOW = """async ([source, style, values]) => {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const module = await import(url);
    const { FakeModel, default: widget, ...more } = module;
    const model = new FakeModel(values);
    const el = document.createElement("div");
    const sheet = document.createElement("style");
    sheet.textContent = style;
    document.body.append(sheet, el);
    const { initialize, render } = widget();
    Object.assign(window, more, { model, close: initialize({ model }), leave: render({ model, el }) });
    window.last = () => model.asked().at(-1);
}"""
SOURCE = "\n".join([FAKE_MODEL, view_module(), "export { FakeModel, delta, event, toolCall, DONE };"])


class AlonePage(ChatPage):
    """The chat, and the kernel's words to it."""

    def play(self, script: str) -> Any:
        return self.page.evaluate(script)

    def begin_to_answer(self) -> None:
        """Ask something; of the answer one word has come."""
        self.ask("hello")
        self.play("model.chunk(last(), delta('one'))")
        self.answers.get_by_text("one").wait_for()

    def open_settings(self) -> None:
        self.page.get_by_role("button", name="Settings").click()


@pytest.fixture
def page(module_browser: Browser) -> Iterator[Page]:
    with module_browser.new_context(viewport={"width": 900, "height": 1200}) as context:
        context.set_default_timeout(30_000)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        assert errors == []


@pytest.fixture
def show(page: Page) -> Callable[..., AlonePage]:
    def show(**values: Any) -> AlonePage:
        page.evaluate(SHOW, [SOURCE, style(), values])
        page.locator(".bodhi-models option[value=tutor]").first.wait_for(state="attached")
        return AlonePage(page)

    return show


# -- what is rendered ---------------------------------------------------------------------------------------------


ITEMS = "[...document.querySelectorAll('.bodhi-menu-items button')]"
CLEAR = f"{ITEMS}.find((item) => item.textContent === 'Clear chat').click()"


@pytest.mark.parametrize("leave", ["", CLEAR, "leave()"], ids=["stay", "clear", "close"])
def test_who_has_nothing_new_to_show_asks_for_no_rendering(show, page, leave):
    page.clock.install()
    chat = show()
    chat.begin_to_answer()
    # What it asked for at once has come; this waits for its time.
    chat.play("model.chunk(last(), delta(' two'))")
    chat.answers.get_by_text("one two").wait_for()
    chat.play(leave)
    if not leave:
        page.clock.run_for(1_000)
    before = chat.play("model.asked('render').length")
    page.clock.run_for(10_000)
    assert chat.play("model.asked('render').length") == before


# -- functions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["click", "Escape"])
def test_a_function_that_runs_can_be_stopped(show, page, by):
    chat = show()
    chat.ask("look")
    chat.play("model.chunk(last(), toolCall('{}') + DONE); model.end(last())")
    chat.page.get_by_role("button", name="Run look").click()
    chat.page.get_by_text("Running in the kernel …").wait_for()
    # The button is gone, and the keyboard is still in the chat.
    assert chat.message.evaluate("area => area === document.activeElement")
    if by == "click":
        chat.stop.click()
    else:
        page.keyboard.press("Escape")
    page.get_by_text("Running in the kernel …").wait_for(state="detached")
    assert chat.send.is_visible()
    assert chat.play("model.sent.at(-1).kind") == "cancel"
    said = chat.play("model.saved.messages.at(-1).content")
    assert said == "The user stopped this; it may have run in part."
    assert page.get_by_role("button", name="Run look").count() == 0


# -- an edit ------------------------------------------------------------------------------------------------------


def test_escape_leaves_an_edit_and_not_the_answer(show, page):
    chat = show()
    chat.begin_to_answer()
    edit = page.get_by_role("button", name="Edit message")
    edit.click()
    page.get_by_role("textbox", name="Edited message").press("Escape")
    assert edit.evaluate("button => button === document.activeElement")
    assert chat.play("model.get('status').state") == "answering"
    page.keyboard.press("Escape")
    chat.wait_for_end()
    edit.click()
    page.get_by_role("button", name="Cancel").click()
    assert edit.evaluate("button => button === document.activeElement")


def test_who_sends_an_edit_can_write_on(show, page):
    chat = show()
    chat.begin_to_answer()
    page.get_by_role("button", name="Edit message").click()
    page.get_by_role("textbox", name="Edited message").press("Enter")
    page.get_by_role("textbox", name="Edited message").wait_for(state="detached")
    assert chat.message.evaluate("area => area === document.activeElement")


def test_escape_closes_the_menu_and_not_the_answer(show, page):
    chat = show()
    chat.begin_to_answer()
    more = page.locator(".bodhi-menu summary")
    for inside in (False, True):
        more.click()
        if inside:
            page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        assert page.get_by_role("button", name="Clear chat").is_hidden()
        assert more.evaluate("summary => summary === document.activeElement")
    assert chat.play("model.get('status').state") == "answering"


# -- its place in a page --------------------------------------------------------------------------------------------

LONG = [{"role": role, "content": "one\n\ntwo"} for role in ("user", "assistant")] * 12


def test_its_head_and_its_end_are_in_sight_together(show, page):
    """Of a page of 1280 by 720 JupyterLab leaves 599 to a notebook, and the panel 62 of that to the chat."""
    page.set_viewport_size({"width": 1280, "height": 720})
    chat = show(messages=LONG)
    for _ in range(2):
        height = page.locator(".bodhi-chat").bounding_box()["height"]
        assert height <= 599 - 62
        assert chat.log.evaluate("log => log.clientHeight") >= 80
        end = page.locator(".bodhi-composer").bounding_box()
        assert end["y"] + end["height"] < page.locator(".bodhi-chat").bounding_box()["y"] + height
        chat.open_settings()


def test_what_comes_into_sight_stands_at_its_end(show, page):
    chat = show()
    chat.play("document.querySelector('.bodhi-chat').parentElement.hidden = true")
    chat.play(f"model.set('messages', {json.dumps(LONG)})")
    page.locator(".bodhi-message").nth(len(LONG) - 1).wait_for(state="attached")
    chat.play("document.querySelector('.bodhi-chat').parentElement.hidden = false")
    page.wait_for_function(
        "() => { const log = document.querySelector('.bodhi-log');"
        " return log.scrollTop > 0 && log.scrollHeight - log.scrollTop - log.clientHeight < 2; }"
    )


def test_an_example_can_be_sent(show, page):
    chat = show(model="tutor")
    chat.message.fill("Something else")
    page.get_by_role("button", name="What is a Jupyter kernel?").click()
    assert chat.message.input_value() == "What is a Jupyter kernel?"
    page.keyboard.press("Control+z")
    assert chat.message.input_value() == "Something else"


# -- settings -----------------------------------------------------------------------------------------------------


def test_what_is_being_written_into_the_settings_stays(show, page):
    chat = show()
    chat.open_settings()
    system = page.get_by_label("System prompt")
    system.press_sequentially("Be")
    chat.play("model.set('models', [...model.get('models')]); model.set('parameters', { seed: 7 })")
    system.press_sequentially(" kind")
    assert system.input_value() == "Be kind"
    assert page.get_by_label("Seed").input_value() == "7"
    system.press("Tab")
    assert chat.play("model.saved.system") == "Be kind"


def test_what_was_set_while_one_wrote_is_shown_to_who_wrote_nothing(show, page):
    chat = show()
    chat.open_settings()
    system, temperature = page.get_by_label("System prompt"), page.get_by_label("Temperature")
    system.focus()
    chat.play("model.set('system', 'From Python')")
    temperature.focus()
    assert system.input_value() == "From Python"
    chat.play("model.set('parameters', { temperature: 0.5 })")
    system.focus()
    assert temperature.input_value() == "0.5"


def test_what_has_to_be_corrected_stays_until_it_is(show, page):
    chat = show()
    chat.open_settings()
    temperature, schema = page.get_by_label("Temperature"), page.get_by_label("JSON schema")
    temperature.fill("9")
    schema.fill("{")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Seed").press("Tab")
    assert chat.play("model.saved.parameters") == {"seed": 7}
    assert (temperature.input_value(), schema.input_value()) == ("9", "{")
    for field, said in ((temperature, "Expected 0 to 2."), (schema, "This is not JSON.")):
        assert field.get_attribute("aria-invalid") == "true"
        described = field.get_attribute("aria-describedby").split()
        assert [page.locator(f"#{name}").inner_text() for name in described][-1] == said

    # Another value is shown, whoever sets it.
    chat.play("model.set('parameters', { seed: 7, temperature: 0.5 })")
    assert temperature.input_value() == "0.5"
    assert temperature.get_attribute("aria-invalid") is None
    assert schema.input_value() == "{"
    page.get_by_role("button", name="Reset parameters").click()
    assert (temperature.input_value(), schema.input_value()) == ("", "")
    assert schema.get_attribute("aria-invalid") is None
    assert chat.play("model.saved.parameters") == {}


def held_back(chat: AlonePage) -> str:
    """The notice, where nothing was asked."""
    notice = chat.page.locator(".bodhi-notice").first
    notice.get_by_text("Nothing was sent.").wait_for()
    assert chat.play("model.asked().length") == 0
    return notice.inner_text()


def test_nothing_is_sent_while_a_setting_is_wrong(show, page):
    chat = show()
    chat.open_settings()
    page.get_by_label("Temperature").fill("5")
    page.get_by_label("JSON schema").fill("{")
    page.get_by_label("Seed").fill("7")
    chat.message.fill("hello")
    # They may be out of sight by then.
    chat.open_settings()
    chat.message.press("Enter")

    said = held_back(chat)
    assert "Temperature (expected 0 to 2), JSON schema (this is not JSON)" in said
    temperature = page.get_by_label("Temperature")
    assert temperature.evaluate("input => input === document.activeElement")
    assert temperature.get_attribute("aria-invalid") == "true"
    assert chat.message.input_value() == "hello"

    temperature.fill("")
    page.get_by_label("JSON schema").fill("")
    page.get_by_label("Seed").focus()
    page.get_by_text("Nothing was sent.").wait_for(state="hidden")
    chat.message.press("Enter")
    chat.play("model.chunk(last(), delta('one') + DONE); model.end(last())")
    chat.wait_for_end()
    assert chat.play("last().body.seed") == 7


@pytest.mark.parametrize("button", ["Regenerate", "Send again"])
def test_nor_is_it_another_way(show, page, button):
    chat = show(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    chat.open_settings()
    page.get_by_label("Temperature").fill("5")
    page.get_by_label("Temperature").press("Tab")
    if button == "Send again":
        page.get_by_role("button", name="Edit message").click()
    page.get_by_role("button", name=button).click()

    held_back(chat)
    assert chat.play("model.get('messages').length") == 2
    page.get_by_role("button", name="Reset parameters").click()
    page.get_by_text("Nothing was sent.").wait_for(state="hidden")


@pytest.mark.parametrize(
    ("param", "label"), [("temperature", "Temperature"), ("stop[0]", "Stop at"), ("messages[0].content", None)]
)
def test_what_the_server_refuses_is_told_at_its_field(show, page, param, label):
    chat = show(parameters={"temperature": 3})
    chat.ask("hello")
    chat.play(f"model.fail(last(), 'Not so.', {{ status: 400, param: '{param}' }})")
    page.locator(".bodhi-notice").get_by_text("Not so.").wait_for()
    assert chat.message.input_value() == "hello"
    assert page.get_by_label("System prompt").is_visible() is (label is not None)
    if label:
        field = page.get_by_label(label)
        assert field.get_attribute("aria-invalid") == "true"
        field.fill("1")
        field.press("Tab")
        assert field.get_attribute("aria-invalid") is None


def test_no_two_fields_of_a_page_share_an_id(show, page):
    show()
    show()
    ids = page.locator("[id]").evaluate_all("elements => elements.map(({ id }) => id)")
    assert len(ids) > 10
    assert len(set(ids)) == len(ids)


# -- closing ------------------------------------------------------------------------------------------------------


def test_a_closed_widget_asks_nothing_any_more(show):
    chat = show()
    chat.begin_to_answer()
    sent = chat.play("leave(); close(); model.sent.length")
    chat.play("model.chunk(last(), delta(' two'))")
    assert chat.play("model.sent.length") == sent
    assert chat.play("model.get('messages').at(-1).content") == "one"
    assert chat.play("model.get('messages').at(-1).stats.finish_reason") == "stopped"
