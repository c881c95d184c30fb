"""Markdown that grows asks for a rendering when there is something new to render, and only then."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.wire.markdown import render_markdown
from tests.notebook.node import run

Play = Callable[..., Any]

#: Elements enough to put text into, time that the test moves, and a server for which nothing is ever a finished block.
BEGIN = """
let timers = [];
globalThis.setTimeout = (task) => { timers.push(task); return timers.length; };
globalThis.clearTimeout = () => { timers = []; };
class Element {
  constructor() { this.content = this; this.lastElementChild = null; }
  append() {}
  replaceChildren() {}
  querySelectorAll() { return []; }
  querySelector() { return null; }
}
document.createElement = () => new Element();
const asked = [];
let answer = ({ text, growing }) => (growing ? { html: "", rest: text } : { html: text });
const growing = new GrowingMarkdown(async (request) => {
  asked.push(request);
  return answer(request);
}, () => {});
// A second and more, as far as this is concerned.
const pass = async () => {
  for (let count = 0; count < 20 && timers.length; count += 1) {
    for (const task of timers.splice(0)) task();
    await new Promise((resolve) => setImmediate(resolve));
  }
};
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda *scripts: run("growing.js", "\n".join([BEGIN, *scripts]), tmp_path)


def test_a_silent_answer_is_rendered_once(play):
    silent, grown, ended = play(
        "growing.append('one'); await pass(); tell(asked.length);",
        "growing.append(' two'); await pass(); tell(asked.length);",
        "growing.end(); await pass(); await growing.done; tell(asked);",
    )
    assert (silent, grown) == (1, 2)
    assert ended == [
        {"text": "one", "growing": True},
        {"text": "one two", "growing": True},
        {"text": "one two", "growing": False},
    ]


#: A server for which all but the last paragraph is finished; `shown` is what stands in the page.
PARAGRAPHS = r"""
answer = ({ text, growing }) => {
  const rest = growing ? text.split("\n\n").at(-1) : "";
  return { html: text.slice(0, text.length - rest.length), rest };
};
let shown = [];
growing.finished.append = (piece) => shown.push(piece.innerHTML ?? piece.textContent);
growing.finished.replaceChildren = () => { shown = []; };
growing.append("See [docs][1].\n\nBye");
await pass();
"""


@pytest.mark.parametrize("fails", [False, True], ids=["rendered", "no server"])
def test_links_whose_references_come_at_the_end_are_links(play, fails):
    before, shown, asked = play(
        PARAGRAPHS,
        r"growing.append('.\n\n[1]: https://example.com'); await pass(); tell([...shown]);",
        f"if ({json.dumps(fails)}) answer = () => {{ throw new Error(); }};",
        "growing.end(); await pass(); await growing.done; tell(shown); tell(asked.at(-1));",
    )
    whole = "See [docs][1].\n\nBye.\n\n[1]: https://example.com"
    assert before == ["See [docs][1].\n\n", "Bye.\n\n"]
    assert asked == {"text": whole, "growing": False}
    assert shown == ([*before, "[1]: https://example.com"] if fails else [whole])


def test_without_references_the_end_alone_is_rendered_at_the_end(play):
    shown = play(PARAGRAPHS, "growing.end(); await pass(); await growing.done; tell(shown);")
    assert shown == ["See [docs][1].\n\n", "Bye"]


def test_what_comes_during_a_rendering_is_rendered_after_it(play):
    asked = play(
        "const first = answer;",
        "answer = (request) => { growing.append(' two'); answer = first; return first(request); };",
        "growing.append('one'); await pass(); tell(asked.map(({ text }) => text));",
    )
    assert asked == ["one", "one two"]


def test_what_is_too_long_for_a_request_goes_in_several(play):
    lengths, all_of_it = play(
        "growing.append('x'.repeat(25_000)); await pass(); tell(asked.map(({ text }) => text.length));",
        "growing.end(); await pass(); await growing.done; tell(asked.at(-1));",
    )
    # Each of them is cut: it is asked for as unfinished, and then as it is.
    assert lengths == [10_000, 10_000, 10_000, 10_000, 5_000]
    assert all_of_it == {"text": "x" * 5_000, "growing": False}


#: Longer than two requests; what looks like Markdown in it is code.
CODE = "# step\nx = _f_(1) * 2\n\n" * 1_000


@pytest.mark.parametrize("before", ["", "1. One:\n\n"], ids=["alone", "in a list"])
@pytest.mark.parametrize("indent", ["", "   "], ids=["at the margin", "indented"])
def test_a_long_block_of_code_goes_on_as_code(play, before, indent):
    code = "".join(f"{indent}{line}\n" for line in CODE.splitlines())
    text = f"{before}{indent}```python\n{code}{indent}```\n\nThat is **all**."
    asked = play(
        f"growing.append({json.dumps(text)}); await pass(); growing.end(); await pass(); await growing.done;",
        "tell(asked.filter(({ growing: isGrowing }) => !isGrowing).map(({ text }) => text));",
    )
    assert len(asked) == len(text) // 10_000 + 1
    rendered = [render_markdown(piece) for piece in asked]
    # Each piece is one block, and the prose behind it is prose.
    assert [html.count("<pre") for html in rendered] == [1] * len(asked)
    assert not any("<h1" in html for html in rendered)
    assert rendered[-1].endswith('<p dir="auto">That is <strong>all</strong>.</p>\n')
    shown = "".join(
        unescape(re.sub("<[^>]*>", "", re.findall("<pre.*?</pre>", html, re.DOTALL)[0])) for html in rendered
    )
    assert shown.rstrip() == CODE.rstrip()


def test_a_line_of_code_that_is_longer_than_a_request_ends_too(play):
    asked = play(
        r"growing.append('```js\n' + 'x'.repeat(25_000) + '\n```'); growing.end(); await pass(); await growing.done;",
        "tell(asked.filter(({ growing: isGrowing }) => !isGrowing).map(({ text }) => text));",
    )
    assert all(piece.startswith("```js\nx") for piece in asked)
    assert sum(piece.count("x") for piece in asked) == 25_000


@pytest.mark.parametrize("length", [9_999, 10_000])
def test_what_just_fits_into_a_request_is_asked_for_once(play, length):
    asked = play(f"growing.append('x'.repeat({length})); await pass(); tell(asked.length);")
    assert asked == 1


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_not_shown_any_more_is_not_asked_for(play, fails):
    fail = "throw new Error();" if fails else "return { html: '', rest: '' };"
    waiting, during = play(
        "growing.append('one'); growing.drop(); await pass(); tell(asked.length);",
        "growing.dropped = false; growing.timer = null; growing.append(' two');",
        f"answer = () => {{ growing.append(' three'); growing.drop(); {fail} }}; await pass(); tell(asked.length);",
    )
    assert (waiting, during) == (0, 1)


def test_half_of_a_character_at_the_end_does_not_ask_for_ever(play):
    asked = play(r"growing.append('a\ud83d'); growing.end(); await pass(); await growing.done; tell(asked.length);")
    assert asked == 1
