"""Expressions in prompts."""

from __future__ import annotations

import pytest

from bodhi_jupyter.notebook.magics import fill

NAMES = {"word": "stone", "numbers": [3, 4], "html": "<b>"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Say {word}.", "Say stone."),
        ("{ word } {word.upper()} {numbers[0] + 1} {html}", "stone STONE 4 <b>"),
        ('{"a": 1} {x: y} \\frac{a}{b} {unknown}', '{"a": 1} {x: y} \\frac{a}{b} {unknown}'),
        ("{{word}} {{", "{word} {"),
        ("{} {\n}", "{} {\n}"),
        ("{word}" * 3, "stonestonestone"),
        ("{'{word}'}", "{'stone'}"),
    ],
)
def test_fill(text, filled):
    assert fill(text, NAMES) == filled


def test_what_an_expression_raises_is_told():
    with pytest.raises(ZeroDivisionError):
        fill("{1 / 0}", NAMES)


def test_expressions_change_nothing_of_the_notebook():
    names = dict(NAMES)
    fill("{(fresh := 3)}", names)

    assert names == NAMES
