"""The chat's browser side as a module: joined from its sources, and of one piece."""

from __future__ import annotations

import re

import pytest

from bodhi_jupyter.notebook import view
from tests.notebook.node import SOURCES, check


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_each_source_is_a_module(path, tmp_path):
    assert check(path.read_text(encoding="utf-8"), tmp_path) == ""


def test_the_joined_module_is_one_too(tmp_path):
    assert check(view.view_module(), tmp_path) == ""


def test_the_joined_module_needs_nothing_else():
    module = view.view_module()
    assert not re.search(r"^\s*import\b", module, re.MULTILINE)
    assert re.findall(r"^export .*$", module, re.MULTILINE) == ["export default () => {"]


def test_the_style_loads_nothing():
    assert not re.search(r"url\(|@import", view.style())


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
