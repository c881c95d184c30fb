"""The chat in a page of its own: no Jupyter, and a kernel that the test plays."""

from __future__ import annotations

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
        page.locator(".bodhi-models option", has_text="tutor").first.wait_for(state="attached")
        return AlonePage(page)

    return show


# -- what is rendered ---------------------------------------------------------------------------------------------


CLEAR = "document.querySelector('.bodhi-menu-items button').click()"


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
