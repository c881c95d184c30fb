"""A panel that outlives its kernel: it says so, and what the browser does by itself goes on."""

from __future__ import annotations

import pytest

from tests.browser.conftest import IMPORT
from tests.browser.notebook_page import ChatPage
from tests.browser.scripted import calls, says

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ENDED = "The kernel of this panel has ended: run its cell again."
FORGOTTEN = "That, or a reload of the page, forgets the chats: what is to stay can be exported (More, at the top)."
WEATHER = "def weather(city: str) -> str:\n    return f'Rain in {city}.'"


@pytest.fixture(autouse=True)
def _quiet(module_visit, backend):
    module_visit.errors.clear()
    backend.fake.requests.clear()
    yield
    assert module_visit.errors == []


def test_a_panel_whose_kernel_was_restarted(notebook, backend, module_visit):
    page = notebook.page
    notebook.set_source(0, "from bodhi_jupyter import Panel\nPanel()")
    notebook.run_to_end(0)
    chat = ChatPage(page)
    page.locator(".bodhi-models option[value=tutor]").wait_for(state="attached")
    page.get_by_role("tab", name="Models", exact=True).click()
    page.get_by_role("option").filter(has_text="tutor").wait_for()
    notebook.restart()

    alert = page.locator(".bodhi-ui-browser").get_by_role("alert").filter(has_text=ENDED)
    alert.wait_for()
    module_visit.screenshot("ended-models")
    assert page.locator(".bodhi-ui-browser > [inert]").count() == 5
    page.get_by_role("tab", name="Activity", exact=True).click()
    page.locator(".bodhi-ui-plots").get_by_role("alert").filter(has_text=ENDED).wait_for()

    page.get_by_role("tab", name="Chat", exact=True).click()
    alert = page.get_by_role("alert").filter(has_text="Until then you can chat on here")
    alert.wait_for()
    assert FORGOTTEN in alert.inner_text()
    backend.behave(says("as *ever*"))
    chat.ask("and you work?")
    chat.answers.locator("em", has_text="ever").wait_for()
    module_visit.screenshot("ended-chat")
    # What it says to do can still be done.
    page.locator("summary[aria-label='More']").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export to Markdown").click()
    assert "as *ever*" in download.value.path().read_text(encoding="utf-8")

    # A prompt that were the same again would tell nothing.
    notebook.set_source(1, "1")
    notebook.run_to_end(1)
    notebook.run_to_end(0)
    chat.message.wait_for()
    assert page.get_by_text(ENDED).count() == 0


def test_where_the_kernel_was_the_way_to_the_server_nothing_can_be_sent(notebook, backend):
    notebook.page.evaluate("document.querySelector('#jupyter-config-data').id = 'hidden'")
    try:
        notebook.set_source(0, f"{IMPORT}\nChatView()")
        notebook.run_to_end(0)
        chat = ChatPage(notebook.page)
        backend.behave(says("by the *kernel*"))
        chat.ask("who asks?")
        chat.answers.locator("em", has_text="kernel").wait_for()
        notebook.restart()

        notebook.page.get_by_role("alert").get_by_text(f"{ENDED} {FORGOTTEN}", exact=True).wait_for()
        assert chat.message.is_disabled()
        assert chat.send.is_disabled()
        assert "by the kernel" in chat.answers.inner_text()
    finally:
        notebook.page.evaluate("document.querySelector('#hidden').id = 'jupyter-config-data'")


def test_functions_are_neither_offered_nor_run(start, notebook, backend):
    chat = start("[weather]", WEATHER)
    backend.behave(calls("weather", '{"city": "Oslo"}'))
    chat.ask("And the weather in Oslo?")
    run = notebook.page.get_by_role("button", name="Run weather")
    run.wait_for()
    assert run.is_enabled()
    notebook.shut_down()

    notebook.page.get_by_role("alert").filter(has_text=ENDED).wait_for()
    assert run.is_disabled()
    backend.behave(says("without it"))
    notebook.page.get_by_role("button", name="Skip weather").click()
    chat.answers.get_by_text("without it").wait_for()
    assert "tools" in backend.bodies[0]
    assert "tools" not in backend.bodies[-1]
