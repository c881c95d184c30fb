"""How the panel looks: in both themes, wide and narrow, with a model selected and something wrong in a form."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import SCREENSHOTS, Visit
from tests.browser.looks import choose_theme, overflowing, poor_contrasts
from tests.browser.notebook_page import BrowserPage
from tests.live.server import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ASK = "chat('hello', show=False); chat('and again', show=False)"
PANEL = "from bodhi_jupyter import Panel, chat\npanel = Panel()\npanel"
PARTS = ", ".join(
    f".bodhi-ui-{part}"
    for part in ("browser", "bar", "main", "heads", "row", "capabilities", "details", "form", "field")
)


@pytest.fixture(scope="module")
def notebook(scripted_lab: LiveServer, module_visit: Visit) -> BrowserPage:
    """The panel's models, one of them selected."""
    notebook = BrowserPage(scripted_lab, module_visit.page, PANEL, ASK, name="panel-looks.ipynb")
    notebook.run_to_end(0)
    notebook.run_to_end(1)
    notebook.page.get_by_role("tab", name="Models", exact=True).click()
    notebook.row("tutor").click()
    notebook.page.get_by_role("heading", name="tutor", exact=True).wait_for()
    return notebook


@pytest.fixture
def show(notebook: BrowserPage, module_visit: Visit) -> Callable[[str, int], None]:
    def show(theme: str, width: int) -> None:
        """The page has this width, and the panel as much of it as there is."""
        choose_theme(notebook.page, theme)
        notebook.page.set_viewport_size({"width": width, "height": 1500})
        notebook.click("New alias")
        notebook.fill("Name", "not a name")
        notebook.fill("Temperature", "9")
        notebook.submit("Save")
        notebook.page.get_by_role("alert").filter(has_text="Expected at most 2").wait_for()
        notebook.row("guide").hover()
        module_visit.screenshot(f"panel-{theme.lower()}-{width}")

    return show


@pytest.mark.parametrize(("theme", "width"), [("Light", 1280), ("Dark", 1280)])
def test_texts_are_readable_in_both_themes(notebook, show, theme, width):
    show(theme, width)
    assert poor_contrasts(notebook.page, ".bodhi-ui-panel", at_least=30) == []
    notebook.submit("Cancel")


def test_all_of_it_is_in_one_font(notebook, show):
    show("Light", 1280)
    texts = notebook.page.locator(
        ".bodhi-ui-panel :is(label, input, select, textarea, button, h3, .lm-TabBar-tabLabel)"
    )
    fonts = texts.evaluate_all(
        "all => all.filter(one => one.checkVisibility() && !one.closest('.bodhi-chat'))"
        ".map(one => [one.tagName, getComputedStyle(one).fontFamily])"
    )
    assert {tag for tag, _ in fonts} >= {"LABEL", "INPUT", "SELECT", "TEXTAREA", "BUTTON", "H3", "DIV"}
    assert len({font for _, font in fonts}) == 1, fonts
    form = notebook.page.locator(".bodhi-ui-form")
    lefts = form.locator(":is(input[placeholder='what callers ask for'], select)").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().left)"
    )
    assert lefts[0] == lefts[1]
    notebook.submit("Cancel")


def test_in_a_narrow_panel_a_form_has_its_labels_above_its_inputs(notebook, show):
    show("Light", 720)
    browser, form = (notebook.page.locator(f".bodhi-ui-{part}") for part in ("browser", "form"))
    browser.evaluate("(one) => { one.style.width = '330px'; }")
    try:
        boxes = form.locator(".widget-label").evaluate_all(
            """labels => labels.filter((label) => label.checkVisibility() && label.control).map((label) => {
                const [above, below] = [label, label.control].map((one) => one.getBoundingClientRect());
                const form = label.closest(".bodhi-ui-form").getBoundingClientRect();
                return [label.textContent, above.bottom <= below.top, below.width / form.width > 0.85, below.height];
            })"""
        )
        assert len(boxes) > 10
        assert [box for box in boxes if not (box[1] and box[2] and 24 < box[3] < 100)] == []
        wrong = form.get_by_role("alert").filter(has_text="Expected at most 2").bounding_box()
        assert wrong["x"] - form.bounding_box()["x"] < 30
        assert overflowing(notebook.page, PARTS) == []
    finally:
        notebook.page.screenshot(path=SCREENSHOTS / "panel-form-narrow.png")
        browser.evaluate("(one) => { one.style.width = ''; }")
        notebook.submit("Cancel")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_charts_are_readable_in_both_themes(notebook, module_visit, theme):
    page = notebook.page
    choose_theme(page, theme)
    page.set_viewport_size({"width": 1280, "height": 1500})
    page.get_by_role("tab", name="Activity", exact=True).click()
    try:
        page.locator(".bodhi-ui-plots svg text", has_text="seconds").first.wait_for()
        page.locator(".bodhi-ui-plots .bodhi-ui-label").first.wait_for()
        assert page.get_by_role("combobox", name="Period").input_value() == "Last week"
        assert poor_contrasts(page, ".bodhi-ui-plots", at_least=10) == []
    finally:
        module_visit.screenshot(f"panel-activity-{theme.lower()}")
        page.get_by_role("tab", name="Models", exact=True).click()


@pytest.mark.parametrize("width", [280, 400, 900, 1280])
def test_the_texts_of_charts_have_one_size_in_every_width(notebook, module_visit, width):
    page = notebook.page
    page.set_viewport_size({"width": 1700, "height": 1500})
    page.get_by_role("tab", name="Activity", exact=True).click()
    plots = page.locator(".bodhi-ui-plots")
    try:
        page.locator(".bodhi-ui-plots .bodhi-ui-label").first.wait_for()
        plots.evaluate("(one, width) => { one.style.width = `${width}px`; }", width)
        texts = plots.locator(":is(.bodhi-ui-axis, .bodhi-ui-label)").evaluate_all(
            """all => all.map((text) => {
                const size = parseFloat(getComputedStyle(text).fontSize) * (text.getScreenCTM?.().a ?? 1);
                const [inner, card] = [text, text.closest("figure")].map((one) => one.getBoundingClientRect());
                return [text.textContent, size, inner.left >= card.left && inner.right <= card.right];
            })"""
        )
        assert len(texts) > 6
        assert [text for text in texts if not (11 <= text[1] <= 13 and text[2])] == []
    finally:
        module_visit.screenshot(f"panel-activity-{width}")
        plots.evaluate("(one) => { one.style.width = ''; }")
        page.get_by_role("tab", name="Models", exact=True).click()


def test_the_arrows_of_menus_are_not_black_on_black(notebook):
    choose_theme(notebook.page, "Dark")
    menus = notebook.page.locator(".bodhi-ui-browser select, .bodhi-ui-plots select")
    looks = menus.evaluate_all(
        "all => all.map((one) => getComputedStyle(one)).map((s) => [s.backgroundImage, s.colorScheme, s.paddingRight])"
    )
    assert len(looks) >= 3
    # The browser's own arrow, which follows the scheme and has its own room, and no picture.
    assert set(map(tuple, looks)) == {("none", "dark", "4px")}


@pytest.mark.parametrize("width", [720, 859, 861, 1399, 1401])
def test_it_fits_into_every_width(notebook, show, width):
    """Of the browser itself: its layout changes with it, whatever stands beside it in the page."""
    show("Light", 720)
    notebook.page.locator(".bodhi-ui-browser").evaluate("(one, width) => { one.style.width = `${width}px`; }", width)
    assert overflowing(notebook.page, PARTS) == []
    notebook.submit("Cancel")


def test_the_columns_stand_below_their_heads_also_where_a_scrollbar_takes_room(notebook):
    """Which Playwright hides: so that both leave it the same room is looked at."""
    gutters = notebook.page.locator(".bodhi-ui-heads, .bodhi-ui-list").evaluate_all(
        "all => all.map((one) => getComputedStyle(one)).map((s) => [s.scrollbarGutter, s.overflowY !== 'visible'])"
    )
    assert gutters == [["stable", True]] * 2
