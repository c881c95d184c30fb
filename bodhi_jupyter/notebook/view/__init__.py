"""The browser's side: small modules, which are joined into one where they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

ENTRY = "chat.js"
#: The style sheets of the chat and of the panel beside it; of rules with the same weight the later one holds.
CHAT_STYLES = ("messages.css", "settings.css", "chat.css", "controls.css", "header.css", "composer.css")
PANEL_STYLES = ("panel.css", "browser.css", "model_table.css", "forms.css", "plots.css")
_FOLDER = Path(__file__).parent
_IMPORT = re.compile(r'^import\s*\{[^}]*\}\s*from\s*"\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


def view_module(entry: str = ENTRY) -> str:
    """The one module that a widget is given: browsers cannot follow imports out of it."""
    return join({path.name: path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.js")}, entry)


def style(sheets: Iterable[str] = CHAT_STYLES) -> str:
    """The one style sheet that a widget is given."""
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in sheets)


def join(sources: Mapping[str, str], entry: str) -> str:
    """One module out of several: what a module imports stands before it, and its imports and exports are dropped.

    A name at the top of a module has to be its own among all of them; the module would not load otherwise.

    Raises:
        KeyError: a module imports one that is not there.
    """
    order: list[str] = []
    _place(entry, sources, order)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", sources[name])) for name in order)


def _place(name: str, sources: Mapping[str, str], order: list[str]) -> None:
    if name in order:
        return
    for imported in _IMPORT.findall(sources[name]):
        _place(imported, sources, order)
    order.append(name)
