"""The chat's browser side as a module: joined from its sources, and of one piece."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bodhi_jupyter.notebook import view
from tests.notebook.node import SOURCES, check

FOLDER = Path(view.__file__).parent
#: Those that a widget is given; the others they import.
ENTRIES = [path.name for path in SOURCES if "\nexport default" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_each_source_is_a_module(path, tmp_path):
    assert check(path.read_text(encoding="utf-8"), tmp_path) == ""


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_joined_module_is_one_too(entry, tmp_path):
    assert check(view.view_module(entry), tmp_path) == ""


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_joined_module_needs_nothing_else_and_is_a_widget(entry):
    module = view.view_module(entry)
    assert not re.search(r"^\s*import\b", module, re.MULTILINE)
    assert len(re.findall(r"^export default\b", module, re.MULTILINE)) == 1
    assert len(re.findall(r"^export\b", module, re.MULTILINE)) == 1


def test_every_widgets_module_is_looked_at():
    assert {"chat.js", "drawer.js", "model_table.js", "notice.js", "problem.js", "pulse.js"} == set(ENTRIES)


@pytest.mark.parametrize("style", [view.style(), *(path.read_text("utf-8") for path in sorted(FOLDER.glob("*.css")))])
def test_no_style_loads_anything(style):
    assert not re.search(r"url\(|@import", style)


def test_every_style_sheet_is_given_to_a_widget_once():
    assert sorted((*view.CHAT_STYLES, *view.PANEL_STYLES)) == sorted(path.name for path in FOLDER.glob("*.css"))


def test_imports_come_first_and_once():
    sources = {
        "a.js": 'import { b } from "./b.js";\nimport { c } from "./c.js";\nexport default b + c;\n',
        "b.js": 'import { c } from "./c.js";\nexport const b = c;\n',
        "c.js": "export const c = 1;\n",
        "unused.js": "export const d = 1;\n",
    }
    assert view.join(sources, "a.js").split("\n\n") == ["const c = 1;", "const b = c;", "export default b + c;\n"]


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(KeyError, match=r"b\.js"):
        view.join({"a.js": 'import { b } from "./b.js";\n'}, "a.js")
