"""A person reads the API's documentation in a browser, and tries it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.server import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture
def prefixed(tmp_path: Path, browser) -> Iterator[LiveServer]:
    """As behind a hub: everything is below a prefix."""
    with LiveServer(tmp_path, config={"ServerApp": {"base_url": "/user/ann"}}) as live:
        yield live


def test_the_documentation_in_a_browser(visit, prefixed):
    page = visit.page
    page.goto(f"{prefixed.url}/bodhi/docs?token={prefixed.token}")
    document = prefixed.get("/bodhi/openapi.json").json()
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    page.locator(".opblock").nth(len(described) - 1).wait_for()
    shown = set(
        zip(
            (text.replace("\u200b", "") for text in page.locator(".opblock-summary-path").all_inner_texts()),
            (text.lower() for text in page.locator(".opblock-summary-method").all_inner_texts()),
            strict=True,
        )
    )
    assert shown == described
    visit.screenshot("docs_overview")

    chat = page.locator(".opblock", has=page.locator("[data-path='/v1/chat/completions']"))
    chat.locator(".opblock-summary-control").click()
    chat.get_by_role("button", name="Try it out").click()
    chat.get_by_role("button", name="Execute").click()
    answer = chat.locator(".live-responses-table .response .microlight")
    answer.first.wait_for()
    # Logged in by cookie: without the page's XSRF header this would be refused.
    assert '"object": "chat.completion"' in answer.first.inner_text()
    assert re.search(r'"content": ".+"', answer.first.inner_text())

    assert visit.hosts == {"127.0.0.1"}
    assert visit.errors == []


def test_who_has_not_logged_in_is_led_to_where_one_can(visit, prefixed):
    visit.page.goto(f"{prefixed.url}/bodhi/docs")
    visit.page.fill("#password_input", prefixed.token)
    visit.page.click("#login_submit")
    visit.page.locator(".opblock").first.wait_for()

    assert visit.hosts == {"127.0.0.1"}
