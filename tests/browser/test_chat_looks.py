"""How the chat looks: in both themes, in a narrow cell, and in Notebook 7."""

from __future__ import annotations

import pytest

from tests.browser.conftest import NOTEBOOKS_OWN, Visit
from tests.browser.looks import choose_theme, overflowing, poor_contrasts
from tests.browser.notebook_page import ChatPage, NotebookPage
from tests.browser.scripted import calls, says

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ANSWER = """\
## Softmax in one minute

It turns **scores** into *probabilities*; see [the article](https://example.org/softmax). It needs `numpy` only.

1. Subtract the largest score, so that nothing overflows.
2. Exponentiate, and divide by the sum:

$$p_i = \\frac{e^{x_i - m}}{\\sum_{j=1}^n e^{x_j - m}}, \\quad m = \\max_j x_j$$

```python
import numpy as np

def softmax(scores: np.ndarray) -> np.ndarray:
    \"\"\"Probabilities.\"\"\"
    powers = np.exp(scores - scores.max())  # stable
    return powers / powers.sum()

print(softmax(np.array([1.0, 2.0])), "done")
```

| score | probability |
|---|---|
| 1.0 | 0.269 |

> The sum over $i$ of $p_i$ is 1.
"""


def fill(chat: ChatPage, backend) -> None:
    """A conversation with everything in it, and the settings open."""
    backend.script(says(ANSWER, reasoning="The user wants it short."), calls("weather", '{"city": "Oslo"}'))
    chat.ask("Explain softmax, with code and a formula.")
    chat.answers.get_by_text("The sum over").wait_for()
    chat.wait_for_end()
    chat.page.locator(".bodhi-code-header").wait_for()
    chat.ask("And the weather in Oslo?")
    chat.page.get_by_role("button", name="Run weather").wait_for()
    chat.page.get_by_text("Reasoning", exact=True).click()


def shoot(visit: Visit, name: str) -> None:
    chat = visit.page.locator(".bodhi-chat")
    chat.evaluate("chat => { chat.style.maxHeight = 'none'; }")
    visit.page.mouse.move(0, 0)
    visit.screenshot(name)
    chat.evaluate("chat => { chat.style.maxHeight = ''; }")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_texts_are_readable_in_both_themes(start, notebook, backend, module_visit, theme):
    page = notebook.page
    choose_theme(page, theme)
    chat = start()
    fill(chat, backend)
    shoot(module_visit, f"chat-{theme.lower()}")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("9")
    page.get_by_label("Top p").click()
    shoot(module_visit, f"chat-settings-{theme.lower()}")
    assert poor_contrasts(page, ".bodhi-chat", at_least=60) == []


def test_it_fits_into_a_narrow_cell(start, notebook, backend, module_visit):
    page = notebook.page
    page.set_viewport_size({"width": 640, "height": 1400})
    try:
        chat = start()
        fill(chat, backend)
        page.get_by_role("button", name="Settings").click()
        shoot(module_visit, "chat-narrow")
        parts = ".bodhi-chat, .bodhi-header, .bodhi-log, .bodhi-composer, .bodhi-settings"
        assert overflowing(page, parts) == []
        # As on a telephone.
        page.locator(".bodhi-chat").evaluate("chat => { chat.style.width = '210px'; }")
        shoot(module_visit, "chat-narrowest")
        assert overflowing(page, parts) == []
        cut = "area => [area.scrollWidth > area.clientWidth, area.scrollHeight > area.clientHeight]"
        assert chat.message.evaluate(cut) == [False, False]
    finally:
        page.set_viewport_size({"width": 1280, "height": 1400})


TABLE = """\
| Column | right | center | words | long |
|---|--:|:-:|---|---|
| 1 | 22 | 3 | some more words for a cell that is wide | WORD |
| one cell

שלום (python).

1. שלום `x[0]`
2. one word, and שלום

   ```python
   print(1)
   ```
""".replace("WORD", "word" * 40)


def test_tables_and_paragraphs_begin_where_they_have_to(start, notebook, backend, module_visit):
    chat = start()
    backend.behave(says(TABLE))
    chat.ask("As a table?")
    chat.wait_for_end()
    table = chat.answers.locator("table")
    table.get_by_text("one cell").wait_for()
    module_visit.screenshot("chat-table")
    cells = table.locator("tbody tr").first.locator("td")
    assert cells.evaluate_all("all => all.map(one => getComputedStyle(one).textAlign)") == [
        *("start", "right", "center", "start", "start")
    ]
    # No word is cut: the table is scrolled, and the chat is as wide as before.
    assert table.locator("th").first.evaluate("one => one.offsetHeight") < 40
    assert table.evaluate("one => one.scrollWidth > one.clientWidth")
    assert overflowing(notebook.page, ".bodhi-chat, .bodhi-log") == []
    # A list stands at one side, with its marks beside its items.
    items = chat.answers.locator("li").evaluate_all(
        "all => all.map((one) => getComputedStyle(one)).map((style) => [style.direction, style.unicodeBidi])"
    )
    assert items == [["rtl", "isolate"]] * 2
    code = "all => all.map((one) => getComputedStyle(one).direction)"
    assert chat.answers.locator("li code, li pre, li .bodhi-code-block").evaluate_all(code) == ["ltr"] * 4
    assert chat.answers.locator("ol").evaluate("one => getComputedStyle(one).paddingRight") == "24px"
    # What is written from the right begins there.
    edges = chat.answers.locator("p", has_text="python").evaluate(
        "one => { const range = document.createRange(); range.selectNodeContents(one);"
        " const text = range.getBoundingClientRect(); const all = one.getBoundingClientRect();"
        " return [text.left - all.left, all.right - text.right]; }"
    )
    assert edges[0] > 100
    assert edges[1] < 1


def test_it_works_in_notebook_7(scripted_lab, module_visit, module_browser, backend):
    with module_browser.new_context(viewport={"width": 1280, "height": 1200}) as context:
        context.set_default_timeout(60_000)
        visit = Visit(context.new_page())
        source = "from bodhi_jupyter.notebook.chat_view import ChatView\nchat = ChatView()\nchat"
        notebook = NotebookPage(scripted_lab, visit.page, source, "", name="seven.ipynb", route="notebooks")
        notebook.run_to_end(0)
        chat = ChatPage(visit.page)
        chat.message.wait_for()
        fill(chat, backend)
        shoot(visit, "chat-notebook-7")
        visit.page.get_by_role("button", name="Insert as cell below").click()
        visit.page.locator(".jp-Notebook .jp-CodeCell").nth(2).wait_for()
        assert "import numpy as np" in notebook.cell(1).inner_text()
        notebook.wait_for_value(2, "[message['role'] for message in chat.messages]", ["user", "assistant"] * 2)
        assert visit.hosts == {"127.0.0.1"}
        assert [error for error in visit.errors if not NOTEBOOKS_OWN.search(error)] == []
