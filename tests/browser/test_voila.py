"""The panel in Voila: a notebook as a page, its cells hidden."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest

from tests.browser.conftest import Visit, _lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

#: Where Voila's page looks for icons and formulas, whatever it shows.
VOILAS_OWN = ("cdn.jsdelivr.net", "cdnjs.cloudflare.com")
ICONS_AND_FORMULAS = "/@fortawesome/|/mathjax/"
CELL = "from bodhi_jupyter import Panel\nPanel()"


def test_the_panel_in_voila(browser: Any, tmp_path):
    pytest.importorskip("voila")
    with _lab(tmp_path) as lab, browser.new_context(viewport={"width": 1000, "height": 1200}) as context:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
        (lab.root / "panel.ipynb").write_text(nbformat.writes(notebook), encoding="utf-8")
        context.set_default_timeout(60_000)
        # It works without what Voila's own page asks content networks for.
        context.route(lambda url: urlsplit(url).hostname != "127.0.0.1", lambda route: route.abort())
        visit = Visit(context.new_page())
        page = visit.page
        elsewhere: list[str] = []
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(f"{lab.url}/voila/render/panel.ipynb?token={lab.token}")

        page.get_by_role("tab", name="Models", exact=True).click()
        page.get_by_role("option").filter(has_text="A tiny model that knows").click()
        page.get_by_role("button", name="Use", exact=True).click()
        message = page.get_by_role("textbox", name="Message", exact=True)
        message.fill("hello")
        message.press("Enter")
        answer = page.locator(".bodhi-message[data-role='assistant']").filter(has_text=re.compile("tokens"))
        try:
            answer.wait_for()
        finally:
            visit.screenshot("panel-voila")
        assert visit.hosts == {"127.0.0.1", *VOILAS_OWN}
        assert [url for url in elsewhere if "//127.0.0.1" not in url and not re.search(ICONS_AND_FORMULAS, url)] == []
        # It also tries extensions of Notebook 7 that it lacks parts for.
        known = (*VOILAS_OWN, "@jupyter-notebook/lab-extension")
        assert [error for error in visit.errors if not any(name in error for name in known)] == []
