"""A person asks models in the panel and in cells, and looks at what happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from tests.browser.conftest import NOTEBOOKS_OWN, Visit
from tests.browser.looks import choose_theme
from tests.browser.notebook_page import BrowserPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _quiet(module_visit: Visit) -> Iterator[None]:
    yield
    assert module_visit.hosts <= {"127.0.0.1"}
    assert module_visit.errors == []


def test_answers_in_cells(models_lab, module_visit):
    source = "%load_ext bodhi_jupyter\nfrom bodhi_jupyter import chat\nword = 'stone'"
    notebook = BrowserPage(models_lab, module_visit.page, source, "", "", name="cells.ipynb")
    notebook.run_to_end(0)
    notebook.set_source(2, "%%chat tutor -o kept -m 8 -t 0\nSay {word} twice, {not a word} and {{once}}.")
    shown = notebook.run_to_end(2)
    assert "tutor · 8 tokens" in shown
    question = notebook.value(1, "[kept.messages[-1]['content'], str(kept)]")
    assert question[0] == "Say stone twice, {not a word} and {once}."
    assert question[1].split()[0] in shown
    module_visit.screenshot("chat_magic")

    notebook.set_source(2, "chat('hello', model='tutor', max_tokens=4, temperature=0)")
    assert notebook.run_to_end(2).count("tutor · 4 tokens") == 1
    notebook.set_source(2, "chat('hello', model='nobody')")
    shown = notebook.run_to_end(2)
    assert shown.startswith("RequestRefused: ")
    assert "Traceback" not in shown


@pytest.fixture
def panel_visit(module_browser: Any) -> Iterator[Visit]:
    """A page of its own: JupyterLab's and Notebook's do not follow one another in one without complaints."""
    with module_browser.new_context(viewport={"width": 1280, "height": 1400}) as context:
        context.set_default_timeout(60_000)
        visit = Visit(context.new_page())
        yield visit
        assert visit.hosts == {"127.0.0.1"}
        assert [error for error in visit.errors if not NOTEBOOKS_OWN.search(error)] == []


@pytest.mark.parametrize(
    ("route", "width", "theme"),
    [("lab/tree", 1280, "Light"), ("notebooks", 1100, "Light"), ("lab/tree", 1100, "Dark"), ("lab/tree", 700, "Light")],
)
def test_the_panel(models_lab, panel_visit, route, width, theme):
    page = panel_visit.page
    name = f"panel-{route.partition('/')[0]}-{width}-{theme.lower()}"
    cells = (
        "from bodhi_jupyter import Panel, chat",
        "for _ in range(6): chat('hi', model='tutor', max_tokens=60, show=False)\npanel = Panel()\npanel",
        "",
    )
    notebook = BrowserPage(models_lab, page, *cells, name=f"{name}.ipynb", route=route)
    if route.startswith("lab"):
        choose_theme(page, theme)
    page.set_viewport_size({"width": width, "height": 1400})
    notebook.run_to_end(0)
    notebook.run_to_end(1)
    page.get_by_role("textbox", name="Message", exact=True).wait_for()
    panel_visit.screenshot(f"{name}-chat")

    page.get_by_role("tab", name="Models", exact=True).click()
    notebook.row("tutor").click()
    page.get_by_role("heading", name="tutor", exact=True).wait_for()
    panel_visit.screenshot(f"{name}-models")
    notebook.click("Use")
    page.get_by_role("textbox", name="Message", exact=True).fill("hello")
    page.get_by_role("textbox", name="Message", exact=True).press("Enter")
    # Beneath a whole answer stand its tokens.
    page.locator(".bodhi-message[data-role='assistant']").filter(has_text=re.compile(r"\d+ tokens")).wait_for()

    told = "[panel.model, [message['content'] for message in panel.messages][:1], panel.last.get('model')]"
    notebook.wait_for_value(2, told, ["tutor", ["hello"], "tutor"])

    page.get_by_role("tab", name="Activity", exact=True).click()
    chart = page.get_by_role("img", name=re.compile("^Seconds to the first token"))
    # What was drawn before lacks the last one.
    chart.locator(".bodhi-ui-mark").nth(6).wait_for()
    assert chart.locator(".bodhi-ui-mark").count() == 7
    panel_visit.screenshot(f"{name}-activity")


def test_the_chats_menu_follows_the_models(models_lab, module_visit):
    page = module_visit.page
    notebook = BrowserPage(
        models_lab, page, "from bodhi_jupyter import Panel\npanel = Panel()\npanel", "", name="menu.ipynb"
    )
    notebook.run_to_end(0)
    menu = page.locator(".bodhi-models")

    def wait_for(name: str, state: Literal["attached", "detached"]) -> None:
        menu.locator(f"option[value={name}]").wait_for(state=state)

    wait_for("tutor", "attached")
    menu.select_option("tutor")
    page.get_by_role("tab", name="Models", exact=True).click()
    notebook.row("tutor").click()
    notebook.click("Copy")
    notebook.fill("New name", "passing")
    notebook.submit("Copy")
    notebook.wait_for_message("passing is made.")
    wait_for("passing", "attached")
    assert menu.evaluate("menu => menu.value") == "tutor"

    notebook.row("passing").click()
    notebook.click("Use")
    page.wait_for_function("document.querySelector('.bodhi-models').value === 'passing'")
    # The kernel opens the chat only then: a click on Models before it would be undone.
    page.get_by_role("tab", name="Chat", exact=True, selected=True).wait_for()
    page.get_by_role("tab", name="Models", exact=True).click()
    notebook.click("Delete")
    notebook.submit("Delete")
    notebook.row("passing").wait_for(state="detached")
    wait_for("passing", "detached")
    page.get_by_role("tab", name="Chat", exact=True).click()
    page.get_by_role("alert").filter(has_text="The model “passing” is gone: “default” is asked from now on.").wait_for()
    notebook.wait_for_value(1, "panel.model", "default")

    # By somebody else, while nobody looks at the list.
    with models_lab.client() as client:
        page.get_by_role("tab", name="Activity", exact=True).click()
        assert client.post("/bodhi/v1/aliases/tutor/copy", json={"alias": "foreign"}).status_code == 201
        page.get_by_role("tab", name="Chat", exact=True).click()
        wait_for("foreign", "attached")
        assert client.delete("/bodhi/v1/aliases/foreign").status_code == 204


def test_python_sets_what_the_panel_shows(models_lab, module_visit):
    cells = ("from bodhi_jupyter import Panel\npanel = Panel()\npanel", "")
    notebook = BrowserPage(models_lab, module_visit.page, *cells, name="state.ipynb")
    notebook.run_to_end(0)
    notebook.value(1, "panel.set_trait('messages', [{'role': 'user', 'content': 'said by Python'}])")

    module_visit.page.get_by_role("log").get_by_text("said by Python").wait_for()


def test_without_a_server_it_says_what_to_do(models_lab, module_visit):
    source = (
        "import os\nfor name in list(os.environ):\n"
        "    if name.startswith(('OPENAI', 'OLLAMA', 'ANTHROPIC', 'JPY')): del os.environ[name]\n"
    )
    notebook = BrowserPage(
        models_lab, module_visit.page, source + "from bodhi_jupyter import Panel\nPanel()", name="alone.ipynb"
    )
    notebook.run_to_end(0)

    module_visit.page.get_by_role("alert").filter(has_text="jupyter bodhi key create").wait_for()
