"""How `render_markdown` does it. Everything here is slow to import.

First everything is escaped, so that the only tags are those of this file; then only what is on a list passes.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape, unescape
from typing import Any
from xml.etree.ElementTree import tostring

import mistune
import nh3
from latex2mathml.converter import convert_to_element
from mistune.plugins.formatting import strikethrough
from mistune.plugins.url import url
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name

from .markdown_tables import tables

#: Those that people ask models for. The model chooses the lexer, and not all of Pygments' 500 are safe from text
#: that takes them for ever.
_LANGUAGES = {
    *("python", "py", "python3", "pycon", "bash", "sh", "shell", "zsh", "console", "powershell", "javascript"),
    *("js", "jsx", "typescript", "ts", "tsx", "json", "yaml", "yml", "toml", "ini", "xml", "html", "css", "sql"),
    *("r", "c", "cpp", "c++", "kotlin", "swift", "go", "rust", "ruby", "php", "lua", "scala"),
    *("julia", "haskell", "matlab", "fortran", "latex", "tex", "diff", "docker", "dockerfile"),
}
#: These take seconds for a page of dots (measured); their dialect is close enough.
_INSTEAD = {"typescript": "javascript", "ts": "javascript", "tsx": "javascript"}
_MAX_COLOURED = 10_000
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)

_TEXT_TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code", "span"),
    *("em", "strong", "del", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
_MATH_TAGS = {
    *("math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "msup", "msub", "msubsup", "mfrac", "msqrt", "mroot"),
    *("mover", "munder", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "mstyle", "mpadded"),
    *("mphantom", "menclose"),
}
_ATTRIBUTES = {
    "a": {"href", "title", "target"},
    "ol": {"start"},
    "pre": {"class", "data-language"},
    "span": {"class"},
    "th": {"align"},
    "td": {"align"},
    "math": {"display"},
    "mi": {"mathvariant"},
    "mo": {"stretchy", "fence", "form", "separator", "movablelimits", "accent", "minsize", "maxsize"},
    "mfrac": {"linethickness"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"displaystyle", "columnalign", "columnlines", "rowlines"},
    "mtd": {"columnalign"},
    "mspace": {"width"},
    "menclose": {"notation"},
}
_VALUES = {
    "href": _LINK,
    "class": re.compile(r"bodhi-[a-z0-9-]+$"),
    "data-language": re.compile(r"[\w#+.-]{1,30}$"),
    "target": re.compile(r"_blank$"),
    # A formula must not grow over the page.
    "width": re.compile(r"-?\d{0,2}(?:\.\d{1,6})?em$"),
    "minsize": re.compile(r"\d(?:\.\d{1,6})?(?:em)?$"),
    "maxsize": re.compile(r"\d(?:\.\d{1,6})?(?:em)?$"),
}
#: Arabic and Hebrew begin at the right, paragraph by paragraph; in a list they stay behind its marks.
_DIRECTIONS = {tag: {"dir": "auto"} for tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6")}


def render(text: str) -> str:
    """See `render_markdown`."""
    # Half of a character is none: nothing below could encode it.
    html = _markdown()(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    assert isinstance(html, str)
    return nh3.clean(
        html,
        tags=_TEXT_TAGS | _MATH_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_allowed,
        set_tag_attribute_values=_DIRECTIONS,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )


def _allowed(tag: str, name: str, value: str) -> str | None:  # noqa: ARG001 - nh3 calls it
    pattern = _VALUES.get(name)
    return value if pattern is None or pattern.match(value) else None


class _Renderer(mistune.HTMLRenderer):
    def link(self, text: str, url: str, title: str | None = None) -> str:
        if not _LINK.match(url):
            return text
        hint = f' title="{escape(title)}"' if title else ""
        # In a page of Jupyter's, following a link would end the session that is open in it.
        return f'<a href="{escape(url)}"{hint} target="_blank">{text}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return self.link(text or escape(url), url, title)

    def block_code(self, code: str, info: str | None = None) -> str:
        language = (info or "").split(None, 1)[0].lower() if info and info.strip() else ""
        lexer = _lexer(language) if len(code) <= _MAX_COLOURED else None
        shown = highlight(code, lexer, _FORMATTER) if lexer else escape(code)
        return f'<pre class="bodhi-code" data-language="{escape(language)}"><code>{shown}</code></pre>\n'


_FORMATTER = HtmlFormatter(nowrap=True, classprefix="bodhi-")

#: Mistune's, which look through what is left of a run of spaces from each of them: 15 s for 64 KB (measured).
_LINE_ENDS = {"linebreak": r"(?:\\|(?<! ) {2,})\n\s*", "softbreak": r"(?:(?<! ) *|)\n\s*"}

# Without blank lines inside, as in LaTeX, and so never across two blocks.
_BLOCK_FORMULA = (
    r"^ {0,3}\$\$(?P<formula_dollars>(?:(?!\n[ \t]*\n)[^$]){1,2000}?)\$\$[ \t]*(?:\n|$)|"
    r"^ {0,3}\\\[(?P<formula_brackets>(?:(?!\n[ \t]*\n)[\s\S]){1,2000}?)\\\][ \t]*(?:\n|$)"
)
# A price is no formula: behind the first dollar and before the second one is no space, behind that no digit.
_INLINE_FORMULA = (
    r"\$\$(?P<formula_display>[^$\n]{1,2000})\$\$|"
    r"\$(?![\s$])(?P<formula_dollar>(?:[^$\\\n]|\\.){1,2000}?)(?<!\s)\$(?!\d)|"
    r"\\\((?P<formula_paren>[^\n]{1,2000}?)\\\)|"
    r"\\\[(?P<formula_bracket>[^\n]{1,2000}?)\\\]"
)
_DISPLAYED = {"formula_display", "formula_bracket", "formula_dollars", "formula_brackets"}


def _formulas(md: mistune.Markdown) -> None:
    """A plugin of mistune's: dollars, and LaTeX's own parentheses and brackets."""
    md.block.register("block_formula", _BLOCK_FORMULA, _parse_formula, before="list")
    md.inline.register("formula", _INLINE_FORMULA, _parse_formula, before="escape")
    assert md.renderer is not None
    md.renderer.register("formula", lambda _, text, display: _formula(text, display=display))


def _parse_formula(_parser: Any, match: re.Match[str], state: Any) -> int:
    name, text = next((name, text) for name, text in match.groupdict().items() if text and name.startswith("formula_"))
    state.append_token({"type": "formula", "raw": text.strip(), "attrs": {"display": name in _DISPLAYED}})
    return match.end()


def _formula(latex: str, *, display: bool) -> str:
    """MathML, or the source where it is no formula that can be read."""
    try:
        # The converter does not know it, and models like it best.
        latex = latex.replace("{aligned}", "{align*}")
        root = convert_to_element(latex, display="block" if display else "inline")
    except Exception:  # it raises whatever happens to it, RecursionError included
        return f"<code>{escape(latex)}</code>"
    for element in root.iter():
        # Symbols are character references in it; its own way of writing them would let tags through.
        element.text = unescape(element.text or "")
    return tostring(root, encoding="unicode")


@cache
def _markdown() -> mistune.Markdown:
    block = mistune.BlockParser()
    inline = mistune.InlineParser()
    inline.specification |= _LINE_ENDS
    # What looks like HTML is text, and what is in it is Markdown still.
    for parser, names in ((block, ("raw_html", "block_html")), (inline, ("inline_html",))):
        parser.rules = [rule for rule in parser.rules if rule not in names]
    return mistune.Markdown(
        _Renderer(escape=True), block=block, inline=inline, plugins=[tables, strikethrough, url, _formulas]
    )


@cache
def _lexer(language: str) -> Lexer | None:
    return get_lexer_by_name(_INSTEAD.get(language, language)) if language in _LANGUAGES else None
