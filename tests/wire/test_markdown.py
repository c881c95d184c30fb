"""Model text as HTML: what it shows, what it never does, and where it may be cut."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.markdown import render_growing, render_markdown, split_blocks
from tests.wire.hostile import HOSTILE

#: Everything that may be in a page by way of a model.
TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code", "span"),
    *("em", "strong", "del", "a", "table", "thead", "tbody", "tr", "th", "td", "math", "mrow", "mi", "mn", "mo", "ms"),
    *("mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot", "mover", "munder", "munderover"),
    *("mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose"),
}


class Reader(HTMLParser):
    """Tags, attributes and text as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def check_inert(html: str) -> None:
    for tag, attributes in Reader(html).tags:
        assert tag in TAGS
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"style", "src", "srcset", "id", "name", "xlink:href", "formaction"}
            if name == "href":
                assert re.match(r"(https?://|mailto:)", value or "")
        if tag == "a":
            assert attributes["rel"] == "noopener noreferrer"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(text):
    check_inert(render_markdown(text))


def test_hostile_text_is_inert_wherever_it_is_cut():
    for text in HOSTILE:
        for end in range(len(text)):
            check_inert(render_markdown(text[:end]))


PIECES = [
    *(
        "<",
        ">",
        "&",
        '"',
        "'",
        "`",
        "```",
        "$",
        "\\(",
        "\\)",
        "[",
        "](",
        ")",
        "!",
        "\n",
        "\n\n",
        "    ",
        "|",
        "|-|",
        "- ",
    ),
    *("> ", "# ", "<img src=x onerror=alert(1)>", "javascript:", "<script>", "</math>", "<svg>", "\\text{", "}", "**"),
    *("http://a.b", "&lt;", "&#106;", "\0", "\ud800", "~~", "a"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_text_is_inert_and_renders(text):
    check_inert(render_markdown(text))


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** _b_ ~~c~~ `d`", '<p dir="auto"><strong>a</strong> <em>b</em> <del>c</del> <code>d</code></p>'),
        ("# Title", '<h1 dir="auto">Title</h1>'),
        # With its full stop at the left; code has a direction of its own.
        ("مرحبا Python.", '<p dir="auto">مرحبا Python.</p>'),
        ("<b>x</b> & y", '<p dir="auto">&lt;b&gt;x&lt;/b&gt; &amp; y</p>'),
        ("<div>\n**in it**\n</div>", '<p dir="auto">&lt;div&gt;\n<strong>in it</strong>\n&lt;/div&gt;</p>'),
        (
            '[x](https://a.b/c?d=e&f "g")',
            '<p dir="auto"><a href="https://a.b/c?d=e&amp;f" title="g" target="_blank" rel="noopener noreferrer">'
            "x</a></p>",
        ),
        ("[x](javascript:alert(1)) [y](/logout) [z](#w)", '<p dir="auto">x y z</p>'),
        (
            "![a cat](https://a.b/cat.png)",
            '<p dir="auto"><a href="https://a.b/cat.png" target="_blank" rel="noopener noreferrer">a cat</a></p>',
        ),
        ("It costs $5, or $10.", '<p dir="auto">It costs $5, or $10.</p>'),
        ("```\n<x>\n```", '<pre class="bodhi-code"><code>&lt;x&gt;\n</code></pre>'),
        (
            "```python\nx = 1\n```",
            '<pre class="bodhi-code" data-language="python"><code><span class="bodhi-n">x</span> '
            '<span class="bodhi-o">=</span> <span class="bodhi-mi">1</span>\n</code></pre>',
        ),
        ("$x^2$", '<p dir="auto"><math display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math></p>'),
        (r"\(x\)", '<p dir="auto"><math display="inline"><mrow><mi>x</mi></mrow></math></p>'),
        ("$$\nx\n$$", '<math display="block"><mrow><mi>x</mi></mrow></math>'),
        (r"\[x\]", '<math display="block"><mrow><mi>x</mi></mrow></math>'),
        (r"$\text{<img src=x>}$", None),
        (r"$\frac{1}{$", r'<p dir="auto"><code>\frac{1}{</code></p>'),
    ],
)
def test_what_is_shown(text, html):
    shown = render_markdown(text).strip()
    if html is None:
        assert "<img" not in shown
        assert "&lt;img" in shown
    else:
        assert shown == html


def table(html: str) -> list[list[str]]:
    """The rows of a table, the cells' own HTML in them."""
    assert html.count("<table>") == 1
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]


HEAD = "| a | b |\n|---|---|\n"


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ("| 1 | 2 |", ["1", "2"]),
        ("| 1 |", ["1", ""]),
        ("| 1", ["1", ""]),
        ("|", ["", ""]),
        ("| 1 | 2 | 3 |", ["1", "2 | 3"]),
        ("1 | 2", ["1", "2"]),
        ("| `x | y` | 2 |", ["<code>x | y</code>", "2"]),
        (r"| `x \| y` | 2 |", ["<code>x | y</code>", "2"]),
        (r"| x \| y | 2 |", ["x | y", "2"]),
        ("| ` | 2 |", ["`", "2"]),
        ("| | 2 |", ["", "2"]),
        ("| <b>x</b> | <i>y</i> |", ["&lt;b&gt;x&lt;/b&gt;", "&lt;i&gt;y&lt;/i&gt;"]),
    ],
)
def test_a_table_stays_one_whatever_its_rows_have(rows, shown):
    assert table(render_markdown(HEAD + rows)) == [["a", "b"], shown]


def test_a_table_stays_one_while_it_grows():
    text = HEAD + "| one | two |\n| three | four |"
    for end in range(len(HEAD), len(text) + 1):
        assert table(render_growing(text[:end])["rest_html"])[0] == ["a", "b"]


@pytest.mark.parametrize("mark", ["- x\n\n  ", "> "])
def test_tables_are_tables_in_lists_and_quotes(mark):
    lines = "| a | b |\n|---|---|\n| 1 | 2 |".splitlines()
    inner = mark.rpartition("\n")[2]
    text = mark + f"\n{inner}".join(lines)
    assert table(render_markdown(text)) == [["a", "b"], ["1", "2"]]


def test_columns_are_aligned():
    html = render_markdown("| a | b | c | d |\n|:--|--:|:-:|---|\n| 1 | 2 | 3 | 4 |")
    assert re.findall(r'<td(?: align="(\w+)")?>', html) == ["left", "right", "center", ""]


@pytest.mark.parametrize(
    "text", ["a | b\nno line", "| a | b |\n|---|\n| 1 | 2 |", "| a | b |\n|---|-x-|", "a | b\n---\nc"]
)
def test_what_is_no_table_is_text(text):
    assert "<table>" not in render_markdown(text)


def test_a_hostile_row_takes_no_time():
    row = "".join(f"{'`' * (1 + at % 300)}|" for at in range(400))
    begun = time.perf_counter()
    render_markdown(HEAD + row + "\n" + "|" * 60_000)
    assert time.perf_counter() - begun < 5


def test_a_line_of_spaces_takes_no_time():
    begun = time.perf_counter()
    render_markdown("a" + " " * 60_000 + "b\n\n" + "|a|" + " " * 60_000 + "b")
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a  \n b", "a<br />\nb"),
        ("a\\\nb", "a<br />\nb"),
        ("a   \nb", "a<br />\nb"),
        ("a \n  b", "a\nb"),
        ("a\nb", "a\nb"),
        ("**a **  \nb", "**a **<br />\nb"),
    ],
)
def test_lines_are_broken_where_markdown_says_so(text, html):
    assert render_markdown(text).replace("<br>", "<br />") == f'<p dir="auto">{html}</p>\n'


def test_a_few_letters_make_no_millions_of_cells():
    html = render_markdown("a|" * 1_200 + "\n" + "-|" * 1_200 + "\n" + "|\n" * 2_400)
    assert html.count("<td>") < 5_000


def test_lines_of_equations_are_a_table():
    assert render_markdown("$$\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}$$").count("<mtr>") == 2


def test_code_of_unknown_languages_is_plain_and_long_code_is_not_coloured():
    assert "<span" not in render_markdown("```nonsense\nx = 1\n```")
    assert "<span" in render_markdown("```python\nx = 1\n```")
    assert "<span" not in render_markdown("```python\n" + "x = 1\n" * 3000 + "```")


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("", ""),
        ("one", ""),
        ("one\n\n", ""),
        ("one\n\ntwo", "one\n\n"),
        ("one\n\ntwo\n\nthree", "one\n\ntwo\n\n"),
        ("one\ntwo\nthree", ""),
        ("one\r\n\r\ntwo", "one\r\n\r\n"),
        ("```python\na\n\nb\n", ""),
        ("```python\na\n\nb\n```\n\nc", "```python\na\n\nb\n```\n\n"),
        ("````\n```\n\nx\n````\n\ny", "````\n```\n\nx\n````\n\n"),
        ("~~~\n```\n\nx", ""),
        ("1. a\n\n2. b", ""),
        ("1. a\n\n2", ""),
        ("1. a\n\n-", ""),
        ("1. a\n\nb", "1. a\n\n"),
        ("- a\n\n  still a\n\nb", "- a\n\n  still a\n\n"),
        ("text\n\n- a", "text\n\n"),
        ("    code\n\n    more\n\ntext", "    code\n\n    more\n\n"),
        ("> a\n\nb", "> a\n\n"),
        ("```not `a` fence\n\nx", "```not `a` fence\n\n"),
    ],
)
def test_where_blocks_end(text, finished):
    assert split_blocks(text) == (finished, text[len(finished) :])


BLOCKS = [
    *("A paragraph with *words*.", "# Heading", "Title\n---", "- a\n- b", "- a\n\n- b\n\n  more of b", "1. x\n2. y"),
    *("```python\nx = 1\n\ny = 2\n```", "~~~\n- not a list\n\n~~~", "> quoted\n> more", "    indented\n\n    code"),
    *(
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "$$\nx^2\n$$",
        r"\[ y \]",
        "---",
        "$5.",
        "- ```\n  in a list\n\n  more\n  ```",
    ),
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=6), st.integers(1, 40))
def test_text_that_grows_ends_as_the_whole_does(blocks, step):
    text = "\n\n".join(blocks)
    html, pending = "", ""
    for start in range(0, len(text), step):
        pending += text[start : start + step]
        grown = render_growing(pending)
        html, pending = html + grown["html"], grown["rest"]
        assert grown["rest_html"] == render_markdown(pending)
    assert html + render_markdown(pending) == render_markdown(text)


def test_finished_blocks_stay_finished():
    text = "One.\n\n```python\nx\n\ny\n```\n\n- a\n\n- b\n\nTwo.\n\n"
    lengths = [len(split_blocks(text[:end])[0]) for end in range(len(text) + 1)]
    assert lengths == sorted(lengths)
    assert all(text.startswith(split_blocks(text[:end])[0]) for end in range(len(text) + 1))


def test_importing_it_imports_nothing_slow():
    code = (
        "import sys, bodhi_jupyter.wire.markdown as markdown\n"
        "slow = {'mistune', 'pygments', 'nh3', 'latex2mathml'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
        "markdown.render_markdown('x')\n"
        "assert slow <= set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
