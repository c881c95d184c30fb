"""A person finds, loads, makes, changes and gets models in JupyterLab, asks them, and looks at what happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from tests.browser.conftest import Visit, _lab
from tests.browser.looks import choose_theme
from tests.browser.notebook_page import BrowserPage
from tests.fakes.hub import FakeHub
from tests.live.server import LiveServer
from tests.tiny_random import write_tiny_random

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

BROWSER = "from bodhi_jupyter import ModelBrowser\nModelBrowser()"
TUTOR = """\
alias: tutor
path: qwen.Q8_0.gguf
description: Explains as to a beginner
tags: [teaching]
context_params: {n_ctx: 2048}
"""
#: What an empty notebook in Notebook 7.6 says of itself, with and without extensions (measured).
NOTEBOOKS_OWN = re.compile(r"reading 'schema'|registered\.$")
HOSTILE = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    model = tmp_path_factory.mktemp("hub") / "small.gguf"
    write_tiny_random(model, seed=5)
    with FakeHub() as hub:
        hub.add("acme/small-GGUF", {"small.Q4_0.gguf": model.read_bytes()})
        yield hub


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, module_browser: Any, hub: FakeHub) -> Iterator[LiveServer]:
    """JupyterLab with a few models and an alias."""
    folder = tmp_path_factory.mktemp("panel")
    models, aliases = folder / "data" / "bodhi" / "models", folder / "data" / "bodhi" / "aliases"
    models.mkdir(parents=True)
    aliases.mkdir(parents=True)
    for seed, name in enumerate(("gemma.Q4_0", "mistral.Q4_K_M", "qwen.Q8_0")):
        write_tiny_random(models / f"{name}.gguf", seed=seed)
    (models / "broken.Q4_0.gguf").write_bytes((models / "qwen.Q8_0.gguf").read_bytes()[:3000])
    (aliases / "tutor.yaml").write_text(TUTOR)
    with _lab(folder, env={"HF_ENDPOINT": hub.url}) as live:
        yield live


@pytest.fixture(scope="module")
def notebook(lab: LiveServer, module_visit: Visit) -> BrowserPage:
    page = BrowserPage(lab, module_visit.page, BROWSER, "", "", name="models.ipynb")
    page.run_to_end(0)
    page.row("tutor").wait_for()
    return page


@pytest.fixture(autouse=True)
def _quiet(module_visit: Visit) -> Iterator[None]:
    yield
    assert module_visit.hosts <= {"127.0.0.1"}
    assert module_visit.errors == []


def test_search_and_filters(notebook):
    search = notebook.page.get_by_placeholder("Search models")
    search.fill("beginner")
    notebook.wait_for_names("tutor")
    search.fill("nothing like this")
    notebook.page.get_by_text("No model fits the search and the filters.").wait_for()
    search.fill("")

    notebook.page.locator(".bodhi-ui-bar select").nth(1).select_option("user")
    notebook.wait_for_names("tutor")
    notebook.page.locator(".bodhi-ui-bar select").nth(1).select_option("Any source")
    names = ("broken.Q4_0", "gemma.Q4_0", "guide", "guide-embed", "mistral.Q4_K_M", "qwen.Q8_0", "tutor")
    notebook.wait_for_names(*names)


def test_by_keys(notebook):
    notebook.page.get_by_role("listbox", name="Models").focus()
    notebook.page.keyboard.press("Home")
    first, second = notebook.names()[:2]
    assert notebook.row(first).get_attribute("aria-selected") == "true"

    notebook.page.keyboard.press("ArrowDown")

    assert notebook.row(second).get_attribute("aria-selected") == "true"
    notebook.page.get_by_role("heading", name=second, exact=True).wait_for()


def test_letters_in_the_list_are_no_commands(notebook):
    keyboard = notebook.page.keyboard
    cells = notebook.prompts()
    notebook.row("guide").click()
    keyboard.press("q")
    notebook.page.locator("[role='option'][aria-selected='true']", has_text="qwen.Q8_0").wait_for()
    for key in ("x", "d", "d", "a", "b"):
        keyboard.press(key)
    assert notebook.row("guide").is_visible()
    # Beside the list they are commands; when one of these is carried out, those before it would have been.
    notebook.cell(2).locator(".jp-InputPrompt").click()
    keyboard.press("b")
    notebook.cell(3).wait_for()
    assert notebook.prompts()[:3] == cells
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == 4
    keyboard.press("x")
    notebook.cell(3).wait_for(state="detached")


def test_loading_and_unloading(notebook, module_visit):
    notebook.row("gemma.Q4_0").click()
    notebook.click("Load")
    notebook.wait_for_state("gemma.Q4_0", "loaded")
    notebook.wait_for_message("gemma.Q4_0 is loaded.")
    details = notebook.page.locator(".bodhi-ui-details").inner_text()
    for fact in ("F16", "279 k", "4,096 tokens"):
        assert fact in details
    module_visit.screenshot("models_loaded")

    notebook.click("Unload")
    notebook.wait_for_state("gemma.Q4_0", "not loaded")


def test_a_model_that_cannot_be_loaded_says_why(notebook, module_visit):
    notebook.row("broken.Q4_0").click()
    notebook.click("Load")

    notebook.wait_for_state("broken.Q4_0", "failed")
    reason = notebook.page.locator(".bodhi-ui-details .bodhi-ui-reason")
    reason.wait_for()
    assert "could not be loaded" in reason.inner_text()
    module_visit.screenshot("models_failed")


def test_news_do_not_move_what_is_looked_at(notebook, lab):
    notebook.row("qwen.Q8_0").click()
    row = notebook.row("qwen.Q8_0").element_handle()
    with lab.client() as client:
        assert client.post("/bodhi/v1/aliases/tutor/copy", json={"alias": "a-first-one"}).status_code == 201
        notebook.row("a-first-one").wait_for()
        assert row.get_attribute("aria-selected") == "true"
        assert notebook.row("qwen.Q8_0").element_handle().evaluate("(now, before) => now === before", row)
        notebook.page.get_by_role("heading", name="qwen.Q8_0", exact=True).wait_for()
        assert client.delete("/bodhi/v1/aliases/a-first-one").status_code == 204
    notebook.row("a-first-one").wait_for(state="detached")


def test_made_changed_copied_and_deleted(notebook, module_visit, lab):
    notebook.click("New alias")
    notebook.fill("Name", "not a name")
    notebook.fill("Path", "qwen.Q8_0.gguf")
    notebook.fill("Description", HOSTILE)
    notebook.submit("Save")
    notebook.page.get_by_role("alert").filter(has_text="a name consists of letters").wait_for()
    notebook.fill("Temperature", "9")
    notebook.fill("Slots", "many")
    notebook.submit("Save")
    notebook.page.get_by_role("alert").filter(has_text="Expected at most 2").wait_for()
    module_visit.screenshot("models_form_error")
    described = notebook.page.locator(".bodhi-ui-form [aria-invalid='true']").evaluate_all(
        "inputs => inputs.map(one => document.getElementById(one.getAttribute('aria-describedby')).textContent)"
    )
    assert [text.split(" ", 1)[0] for text in described] == ["A", "Expected", "Expected"]
    notebook.fill("Slots", "")
    notebook.fill("Name", "mine")
    notebook.fill("Temperature", "0.5")
    notebook.submit("Save")
    notebook.wait_for_message("mine is saved.")
    assert notebook.row("mine").get_attribute("aria-selected") == "true"
    assert lab.get("/bodhi/v1/aliases/mine").json()["request_params"] == {"temperature": 0.5}
    assert notebook.page.locator(".bodhi-ui-browser img").count() == 0

    notebook.click("Edit")
    notebook.fill("Context", "1024")
    notebook.submit("Save")
    notebook.row("mine").get_by_text("1,024", exact=True).wait_for(state="attached")

    notebook.click("Copy")
    notebook.fill("New name", "tutor")
    notebook.submit("Copy")
    notebook.page.get_by_role("alert").filter(has_text="already an alias 'tutor'").wait_for()
    notebook.fill("New name", "mine-too")
    notebook.submit("Copy")
    notebook.wait_for_message("mine-too is made.")

    for name in ("mine-too", "mine"):
        notebook.row(name).click()
        notebook.click("Delete")
        notebook.page.get_by_role("heading", name=f"Delete the alias {name}?").wait_for()
        notebook.submit("Delete")
        notebook.row(name).wait_for(state="detached")
    assert lab.get("/bodhi/v1/aliases/mine").status_code == 404


def test_the_cursor_goes_into_a_form_and_back(notebook):
    def wait_for_cursor(selector: str, text: str = "") -> None:
        notebook.page.locator(f"{selector}:focus", has_text=text).wait_for()

    notebook.click("New alias")
    wait_for_cursor(".bodhi-ui-form input[placeholder='what callers ask for']")
    notebook.submit("Cancel")
    wait_for_cursor(".bodhi-ui-bar button", "New alias")

    notebook.row("tutor").click()
    notebook.click("Delete")
    wait_for_cursor(".bodhi-ui-form button", "Keep")
    notebook.submit("Keep")
    wait_for_cursor(".bodhi-ui-details button", "Delete")


def test_what_an_alias_lacks_stands_at_its_field(notebook, lab):
    with lab.client() as client:
        lost = {"alias": "lost", "path": "gone.gguf"}
        assert client.post("/bodhi/v1/aliases", json=lost).status_code == 201
        try:
            notebook.row("lost").click()
            notebook.click("Edit")
            field = notebook.page.locator(".bodhi-ui-form [aria-invalid='true']:focus")
            field.wait_for()
            assert field.input_value() == "gone.gguf"
            described = field.evaluate(
                "one => document.getElementById(one.getAttribute('aria-describedby')).textContent"
            )
            assert described == "The model's file 'gone.gguf' is not on this machine."
            notebook.submit("Cancel")
        finally:
            assert client.delete("/bodhi/v1/aliases/lost").status_code == 204
    notebook.row("lost").wait_for(state="detached")


def test_no_id_is_given_twice(notebook):
    notebook.set_source(1, BROWSER)
    notebook.run_to_end(1)
    notebook.row("tutor").nth(1).wait_for()
    ids = notebook.page.locator(".bodhi-ui-browser [id]").evaluate_all("all => all.map(one => one.id).filter(Boolean)")
    assert len(ids) > 10
    assert len(ids) == len(set(ids))
    notebook.set_source(1, "pass")
    notebook.run_to_end(1)
    notebook.page.locator(".bodhi-ui-browser").nth(1).wait_for(state="detached")


def test_pulling(notebook, module_visit, hub):
    hub.script.hold_after = 64 * 1024
    notebook.click("Pull a model")
    notebook.fill("Model", "acme/small-GGUF:Q4_0")
    notebook.submit("Pull")
    pull = notebook.page.locator(".bodhi-ui-pulls")
    pull.get_by_text(re.compile(r"\d+ kB of 595 kB")).wait_for()
    module_visit.screenshot("models_pull")
    pull.get_by_role("button", name="Cancel").click()
    pull.get_by_text("cancelled").wait_for()

    hub.script.hold_after = None
    hub.script.release.set()
    notebook.submit("Pull")
    notebook.wait_for_message("acme/small-GGUF:Q4_0 is here.")
    notebook.row("acme/small-GGUF:Q4_0").wait_for()
    notebook.submit("Close")


def test_it_goes_on_while_a_cell_runs(notebook, lab):
    notebook.set_source(1, "import time; time.sleep(600)")
    notebook.run(1)
    try:
        notebook.row("mistral.Q4_K_M").click()
        notebook.page.get_by_role("heading", name="mistral.Q4_K_M", exact=True).wait_for()
        with lab.client() as client:
            assert client.post("/bodhi/v1/models/mistral.Q4_K_M/load").status_code == 200
        notebook.wait_for_state("mistral.Q4_K_M", "loaded")
    finally:
        notebook.interrupt()
    # What is run before its end is dropped with it.
    notebook.cell(1).get_by_text("KeyboardInterrupt").first.wait_for()


def test_answers_in_cells(notebook, module_visit):
    notebook.set_source(1, "%load_ext bodhi_jupyter\nfrom bodhi_jupyter import chat\nword = 'stone'")
    notebook.run_to_end(1)
    notebook.set_source(2, "%%chat tutor -o kept -m 8\nSay {word} twice, {not a word} and {{once}}.")
    shown = notebook.run_to_end(2)
    assert "tutor · 8 tokens" in shown
    question = notebook.value(1, "[kept.messages[-1]['content'], str(kept)]")
    assert question[0] == "Say stone twice, {not a word} and {once}."
    assert question[1].split()[0] in shown
    module_visit.screenshot("chat_magic")

    notebook.set_source(2, "chat('hello', model='tutor', max_tokens=4)")
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
def test_the_panel(lab, panel_visit, route, width, theme):
    page = panel_visit.page
    name = f"panel-{route.partition('/')[0]}-{width}-{theme.lower()}"
    cells = (
        "from bodhi_jupyter import Panel, chat",
        "for _ in range(6): chat('hi', model='tutor', max_tokens=60, show=False)\npanel = Panel()\npanel",
        "",
    )
    notebook = BrowserPage(lab, page, *cells, name=f"{name}.ipynb", route=route)
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


def test_the_chats_menu_follows_the_models(lab, module_visit):
    page = module_visit.page
    notebook = BrowserPage(lab, page, "from bodhi_jupyter import Panel\npanel = Panel()\npanel", "", name="menu.ipynb")
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
    page.get_by_role("tab", name="Models", exact=True).click()
    notebook.click("Delete")
    notebook.submit("Delete")
    notebook.row("passing").wait_for(state="detached")
    wait_for("passing", "detached")
    page.get_by_role("tab", name="Chat", exact=True).click()
    page.get_by_role("alert").filter(has_text="The model “passing” is gone: “default” is asked from now on.").wait_for()
    notebook.wait_for_value(1, "panel.model", "default")

    # By somebody else, while nobody looks at the list.
    with lab.client() as client:
        page.get_by_role("tab", name="Activity", exact=True).click()
        assert client.post("/bodhi/v1/aliases/tutor/copy", json={"alias": "foreign"}).status_code == 201
        page.get_by_role("tab", name="Chat", exact=True).click()
        wait_for("foreign", "attached")
        assert client.delete("/bodhi/v1/aliases/foreign").status_code == 204


def test_python_sets_what_the_panel_shows(lab, module_visit):
    cells = ("from bodhi_jupyter import Panel\npanel = Panel()\npanel", "")
    notebook = BrowserPage(lab, module_visit.page, *cells, name="state.ipynb")
    notebook.run_to_end(0)
    notebook.value(1, "panel.set_trait('messages', [{'role': 'user', 'content': 'said by Python'}])")

    module_visit.page.get_by_role("log").get_by_text("said by Python").wait_for()


def test_without_a_server_it_says_what_to_do(lab, module_visit):
    source = (
        "import os\nfor name in list(os.environ):\n"
        "    if name.startswith(('OPENAI', 'OLLAMA', 'ANTHROPIC', 'JPY')): del os.environ[name]\n"
    )
    notebook = BrowserPage(
        lab, module_visit.page, source + "from bodhi_jupyter import Panel\nPanel()", name="alone.ipynb"
    )
    notebook.run_to_end(0)

    module_visit.page.get_by_role("alert").filter(has_text="jupyter bodhi key create").wait_for()
