"""A conversation as Markdown and as cells: code stays as it is, and nothing in it is markup of a page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import mistune
import pytest

from tests.notebook.node import run
from tests.wire.hostile import HOSTILE

HARM = "x** <img src=x onerror=alert(1)> ![](//evil.example/x.png)\n\n<script>alert(1)</script>"
#: What would begin a tag.
TAG = re.compile(r"<[a-zA-Z/!?]")


def cells(folder: Path, text: str, **more: Any) -> list[tuple[str, str]]:
    """The cells of one message, without its heading."""
    message = {"role": "assistant", "content": text, **more}
    made = run("cells.js", f"tell(asCells([{json.dumps(message)}]));", folder)
    return [(cell["type"], cell["source"]) for cell in made[1:]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n\n```python\nx\n\ny\n```\n\nb", [("markdown", "a"), ("code", "x\n\ny"), ("markdown", "b")]),
        ("```\n1 + 1\n```", [("code", "1 + 1")]),
        ("~~~py\n1\n~~~", [("code", "1")]),
        ("1. One:\n   ```python\n   if x:\n       y\n   ```", [("markdown", "1. One:"), ("code", "if x:\n    y")]),
        (
            "- One:\n\n    ```python\n    if a <b:\n        y\n    ```\n- Two <b>",
            [("markdown", "- One:"), ("code", "if a <b:\n    y"), ("markdown", "- Two &lt;b>")],
        ),
        (
            "- One:\n\n    ```py\n    x\n    ```\n    and\n\n    ```py\n    y\n    ```",
            [("markdown", "- One:"), ("code", "x"), ("markdown", "and"), ("code", "y")],
        ),
        ("- One\n\nOver:\n\n    ```\n    <b>", [("markdown", "- One\n\nOver:\n\n    ```\n    &lt;b>")]),
        ("1. One:\n\t```py\n\tx\n\t```", [("markdown", "1. One:"), ("code", "x")]),
        # Of other languages code is shown as it is.
        ("```html\n<div>a[i](x)</div>\n```", [("markdown", "```html\n<div>a[i](x)</div>\n```")]),
        ("~~~html\n<b>\n```\n~~~", [("markdown", "````html\n<b>\n```\n````")]),
        ("```html title=<x>\n<b>\n```", [("markdown", "```html\n<b>\n```")]),
        ("````md\n```python\n1\n```\n````", [("markdown", "````md\n```python\n1\n```\n````")]),
        # Cut off in the middle.
        ("```python\nx = 1", [("code", "x = 1")]),
        # None of these is a fence, or the end of one.
        ("No list:\n\n    ```\n    <b>", [("markdown", "No list:\n\n    ```\n    &lt;b>")]),
        ("a ```b``` <i>", [("markdown", "a ```b``` &lt;i>")]),
        ("```a`b\n<i>", [("markdown", "```a`b\n&lt;i>")]),
        ("````js\n1\n```\n2\n````", [("markdown", "````js\n1\n```\n2\n````")]),
        ("```python\n```", []),
    ],
)
def test_what_is_between_fences_stays_as_it_is(tmp_path, text, expected):
    assert cells(tmp_path, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[x][1] and [y]( https://example.com/b )\n\n[1]: https://example.com/a",
        "Call `handlers[name](event)`, and say `x: list[int]: y` or `` `<div>` ``.",
        "Put it into `<div>`, [as here](https://example.com/a) or [there](#there).",
        "x: list[int]: y\n[^1]: A note.\n\nOf a[0]: the first.",
        "- `<a>`\n- **`<b>`**: *bold*\n\n## `<h2>`",
        "[y]: mailto:a@example.com\n[z]: HTTPS://example.com/c",
        "a < b, and b > c",
    ],
)
def test_what_is_harmless_stays_as_it_is(tmp_path, text):
    assert cells(tmp_path, text) == [("markdown", text)]


def test_a_question_stays_a_quotation(tmp_path):
    assert cells(tmp_path, "see <b>\n```python\nx < y\n```", role="user") == [
        ("markdown", "> see &lt;b>"),
        ("markdown", "> ```python\n> x < y\n> ```"),
    ]


ATTACHED = [
    {"type": "text", "text": "a.csv:\n\nx,y\r\n1,```\n"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
]


@pytest.mark.parametrize("text", ["look", ""], ids=["with a question", "alone"])
def test_what_is_attached_is_exported_too(tmp_path, text):
    message = json.dumps({"role": "user", "content": [{"type": "text", "text": text}, *ATTACHED]})
    made, markdown = run("cells.js", f"tell(asCells([{message}])); tell(asMarkdown([{message}]));", tmp_path)
    parts = [text] * bool(text) + ["Attached: a.csv", "````text\nx,y\n1,```\n````", "Attached: picture"]
    assert [cell["source"] for cell in made] == ["**You**", *("> " + part.replace("\n", "\n> ") for part in parts)]
    assert {cell["type"] for cell in made} == {"markdown"}
    assert markdown == "\n\n".join(["**You**", *parts]) + "\n"


def test_nothing_said_and_nothing_attached_is_no_heading(tmp_path):
    messages = json.dumps(
        [{"role": "user", "content": [{"type": "text", "text": ""}]}, {"role": "user", "content": " "}]
    )
    assert run("cells.js", f"tell(asCells({messages}).length); tell(asMarkdown({messages}));", tmp_path) == [0, ""]


@pytest.mark.parametrize("name", [HARM, "x [y]: javascript:alert(1)", "a\n\n# b"])
def test_the_name_of_what_is_attached_is_text(tmp_path, name):
    content = [{"type": "text", "text": "look"}, {"type": "text", "text": f"{name}:\n\n{HARM}"}]
    for role in ("user", "assistant"):
        message = json.dumps({"role": role, "content": content})
        made, text = run("cells.js", f"tell(asCells([{message}])); tell(asMarkdown([{message}]));", tmp_path)
        for source in [*(cell["source"] for cell in made), text]:
            html = _rendered(source)
            assert set(re.findall(r"<(\w+)", html)) <= HARMLESS
            assert "<h1" not in html
        assert {cell["type"] for cell in made} == {"markdown"}


def test_a_name_is_text(tmp_path):
    message = json.dumps({"role": "assistant", "content": "yes", "model": HARM})
    (heading, answer), text = run("cells.js", f"tell(asCells([{message}])); tell(asMarkdown([{message}]));", tmp_path)
    assert answer["source"] == "yes"
    for shown in (heading["source"], text):
        assert not TAG.search(shown)
        assert "![" not in shown
    assert "\n" not in heading["source"]


#: Each would have code and text change places for whoever counts fences without knowing lists and quotations.
DISPLACED = [
    "- ```\n  a\n  ```\n  <img src=x onerror=alert(1)>\n",
    "> ```\n```\n<img src=x onerror=alert(1)>\n```\n",
    "- a\n\n  ```js\n```\n<img src=x onerror=alert(1)>\n```js\n",
    "    ```js\n<img src=x onerror=alert(1)>\n```js\n<img src=x onerror=alert(1)>",
    "```js\r<img>\r```\r<img src=x onerror=alert(1)>",
    # What is code within a line, for whoever counts backticks only.
    "`a\n- `b` <img src=x> `c`",
    "`a\n\nb `<img src=x>` c",
    "`foo\nbar `<img src=x> baz`",
    "\\`<img src=x>`",
    "a | b\n--|--\n`c | <img src=x> | d`",
    "$a ` b$ ` `<img src=x>` ` `",
    "https://a.b/` x ` `<img src=x>` ` ",
    "www.a.b/` x ` `<img src=x>` ` ",
    "``a` <img src=x> ``",
    "`a`` <img src=x> `b``",
    "# `a\n<img src=x> `b`",
    "> `a\n`<img src=x>`",
    "`a\r\r`<img src=x>` b",
    # Where links lead.
    "[x](javascript:alert(1)) and [y]\n\n[y]: javascript:alert(1)",
    "[x](\njavascript:alert(1))",
    "[y\n]: javascript:alert(1)\n\n[y]",
    "> - 1. [y]: javascript:alert(1)\n\n[y]",
    "[`y`]: javascript:alert(1)\n\n[`y`]",
    "[y]: javascript:alert(1) 'a title'\n\n[y]",
    "[y]:\n  javascript:alert(1)\n\n[y]",
    "[^1]: javascript:alert(1)\n\n[^1]",
    "[x](`javascript:alert(1)`)",
]
HARMLESS = set(
    re.findall(
        r"\w+", "p em strong code pre a ul ol li blockquote h1 h2 h3 h4 h5 h6 hr br table thead tbody tr th td del"
    )
)
_rendered = mistune.create_markdown(escape=False, plugins=["table", "url", "strikethrough"])


@pytest.mark.parametrize("role", ["assistant", "user"])
def test_no_tag_stands_outside_of_code(tmp_path, role):
    messages = [{"role": role, "content": text} for text in [*HOSTILE, *DISPLACED]]
    made = run("cells.js", f"tell(asCells({json.dumps(messages)}));", tmp_path)
    sources = [cell["source"] for cell in made if cell["type"] == "markdown"]
    assert len(sources) > len(messages)
    for source in sources:
        if role == "assistant":
            html = _rendered(source)
            assert set(re.findall(r"<(\w+)", html)) <= HARMLESS, source
            assert not re.findall(r'href="(?!https?:|mailto:|#)', html), source
        lines = [line.removeprefix("> ") if role == "user" else line for line in re.split(r"[\r\n]", source)]
        fence = re.match(r"`{3,}", lines[0])
        if fence and lines[-1] == fence.group():
            # All of the cell is code: nothing within ends it.
            assert not [line for line in lines[1:-1] if line.strip().startswith(fence.group())]
        else:
            assert not TAG.search(re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", source)), source
