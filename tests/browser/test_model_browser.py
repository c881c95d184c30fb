"""A person finds, loads, makes, changes and gets models in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browser.conftest import Visit
from tests.browser.notebook_page import BrowserPage
from tests.live.server import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

BROWSER = "from bodhi_jupyter import ModelBrowser\nModelBrowser()"
HOSTILE = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def notebook(models_lab: LiveServer, module_visit: Visit) -> BrowserPage:
    page = BrowserPage(models_lab, module_visit.page, BROWSER, "", "", name="models.ipynb")
    page.run_to_end(0)
    page.row("tutor").wait_for()
    return page


@pytest.fixture(autouse=True)
def _quiet(module_visit: Visit) -> Iterator[None]:
    yield
    assert module_visit.hosts <= {"127.0.0.1"}
    assert module_visit.errors == []


def test_search_and_filters(notebook):
    page = notebook.page
    search, source = page.get_by_role("textbox", name="Search models"), page.get_by_role("combobox", name="Source")
    search.fill("beginner")
    notebook.wait_for_names("tutor")
    search.fill("nothing like this")
    page.get_by_text("No model fits the search and the filters.").wait_for()
    search.fill("")
    assert page.get_by_role("combobox", name="Capability").count() == 1

    source.select_option("user")
    notebook.wait_for_names("tutor")
    source.select_option("Any source")
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

    # It is closed at once, also while a cell runs, and the keyboard stays there.
    notice = notebook.page.locator(".bodhi-ui-message").get_by_role("alert")
    notice.wait_for()
    notebook.set_source(1, "import time; time.sleep(600)")
    notebook.run(1)
    try:
        notebook.page.get_by_role("button", name="Close notice").click()
        assert notice.count() == 0
        focused = notebook.page.evaluate("document.activeElement.getAttribute('role')")
        assert focused == "listbox"
    finally:
        notebook.interrupt()
    notebook.cell(1).get_by_text("KeyboardInterrupt").first.wait_for()


def test_news_do_not_move_what_is_looked_at(notebook, models_lab):
    notebook.row("qwen.Q8_0").click()
    row = notebook.row("qwen.Q8_0").element_handle()
    with models_lab.client() as client:
        assert client.post("/bodhi/v1/aliases/tutor/copy", json={"alias": "a-first-one"}).status_code == 201
        notebook.row("a-first-one").wait_for()
        assert row.get_attribute("aria-selected") == "true"
        assert notebook.row("qwen.Q8_0").element_handle().evaluate("(now, before) => now === before", row)
        notebook.page.get_by_role("heading", name="qwen.Q8_0", exact=True).wait_for()
        assert client.delete("/bodhi/v1/aliases/a-first-one").status_code == 204
    notebook.row("a-first-one").wait_for(state="detached")


def test_made_changed_copied_and_deleted(notebook, module_visit, models_lab):
    notebook.click("New alias")
    notebook.fill("Name", "not a name")
    # What is known can be chosen from.
    path = notebook.page.locator(".bodhi-ui-form").get_by_label("Path", exact=True)
    notebook.page.locator(".bodhi-ui-form option[value='qwen.Q8_0.gguf']").wait_for(state="attached")
    assert "qwen.Q8_0.gguf" in path.evaluate("input => [...input.list.options].map((option) => option.value)")
    notebook.fill("Path", "qwen.Q8_0.gguf")
    notebook.fill("Description", HOSTILE)
    notebook.submit("Save")
    notebook.page.get_by_role("alert").filter(has_text="a name consists of letters").wait_for()
    notebook.fill("Temperature", "9")
    notebook.fill("Slots", "many")
    notebook.submit("Save")
    notebook.page.get_by_role("alert").filter(has_text="Expected at most 2").wait_for()
    wrong = notebook.page.locator(".bodhi-ui-form [aria-invalid='true']")
    # The kernel tells of each field by itself.
    wrong.nth(2).wait_for()
    module_visit.screenshot("models_form_error")
    described = wrong.evaluate_all(
        "inputs => inputs.map(one => document.getElementById(one.getAttribute('aria-describedby')).textContent)"
    )
    assert [text.split(" ", 1)[0] for text in described] == ["A", "Expected", "Expected"]
    notebook.fill("Slots", "")
    notebook.fill("Name", "mine")
    notebook.fill("Temperature", "0.5")
    notebook.submit("Save")
    notebook.wait_for_message("mine is saved.")
    assert notebook.row("mine").get_attribute("aria-selected") == "true"
    assert models_lab.get("/bodhi/v1/aliases/mine").json()["request_params"] == {"temperature": 0.5}
    assert notebook.page.locator(".bodhi-ui-browser img").count() == 0

    notebook.click("Edit")
    notebook.fill("Context", "1024")
    notebook.submit("Save")
    notebook.row("mine").get_by_text("1,024", exact=True).wait_for(state="attached")

    notebook.click("Copy")
    notebook.fill("New name", "tutor")
    notebook.submit("Copy")
    notebook.page.get_by_role("alert").filter(has_text="There is a model tutor already.").wait_for()
    field = notebook.page.locator(".bodhi-ui-form").get_by_label("New name", exact=True)
    field.fill("mine-too")
    field.press("Enter")
    notebook.wait_for_message("mine-too is made.")

    for name in ("mine-too", "mine"):
        notebook.row(name).click()
        notebook.click("Delete")
        notebook.page.get_by_role("heading", name=f"Delete the alias {name}?").wait_for()
        notebook.submit("Delete")
        notebook.row(name).wait_for(state="detached")
    assert models_lab.get("/bodhi/v1/aliases/mine").status_code == 404


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


def test_what_an_alias_lacks_stands_at_its_field(notebook, models_lab):
    with models_lab.client() as client:
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


def test_it_goes_on_while_a_cell_runs(notebook, models_lab):
    notebook.set_source(1, "import time; time.sleep(600)")
    notebook.run(1)
    try:
        notebook.row("mistral.Q4_K_M").click()
        notebook.page.get_by_role("heading", name="mistral.Q4_K_M", exact=True).wait_for()
        with models_lab.client() as client:
            assert client.post("/bodhi/v1/models/mistral.Q4_K_M/load").status_code == 200
        notebook.wait_for_state("mistral.Q4_K_M", "loaded")
    finally:
        notebook.interrupt()
    # What is run before its end is dropped with it.
    notebook.cell(1).get_by_text("KeyboardInterrupt").first.wait_for()
