"""Expressions in prompts."""

from __future__ import annotations

import pytest

from bodhi_jupyter.notebook.expressions import fill

NAMES = {"word": "stone", "numbers": [3, 4], "html": "<b>", "a": 1, "b": 2, "i": 3, "n": 4, "x": 5, "list": "mine"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Say {word}.", "Say stone."),
        ("{ word } {word.upper()} {numbers[0] + 1} {html}", "stone STONE 4 <b>"),
        ("{word}_{n}.csv {word}_{a}_{b} part_{i}", "stone_4.csv stone_1_2 part_3"),
        ("{{word}} {{", "{word} {"),
        ("{} {\n}", "{} {\n}"),
        ("{word}" * 3, "stonestonestone"),
        ("{'{word}'}", "{'stone'}"),
        ("{{word}}}} {{'a': {{'b': {word}}}}}", "{word}} {'a': {'b': stone}}"),
        ("{{{word}}}", "{stone}"),
        ("{len(numbers)} {max(3, 4)} {str(n)[0]} {list}", "2 4 4 mine"),
        ("{[i for i in numbers]} {sum(range(3))}", "[3, 4] 3"),
    ],
)
def test_fill(text, filled):
    assert fill(text, NAMES) == filled


@pytest.mark.parametrize(
    "text",
    [
        "GET /v1/models/{id} {type}/{max} {input} { id } {id.value} {filter[0]} {id, type} {hash or id} {help}",
        "{unknown} {x: y} {2} {10 / 5} {-1} {'a'} {2,3}",
        '{"a": 1} {"a":{"b":{"c":1}}} {"a": {"b": {}}} [{"a":[{}]}]',
        r"\frac{1}{2} x^{10} x^{-1} 10^{n}",
        r"\frac{a}{b} \binom{n}{i} \sqrt[n]{x} \text{word} \operatorname*{a}",
        r"x_{i} \hat{x}_{i} \sum_{i}^{n} \int_{a}^{b} x_{i}^{n} (x)_{i}",
        r"\frac{\sqrt{a}}{b} \frac{x^{2}}{b} \hat{\mathbf{x_{1}}}",
        "\\frac{\na}{b}",
    ],
)
def test_what_is_pasted_stays(text):
    assert fill(text, NAMES) == text


def test_what_names_nothing_is_not_run():
    assert fill("{[].clear()} {1 / 0}", NAMES) == "{[].clear()} {1 / 0}"


def test_what_an_expression_raises_is_told():
    with pytest.raises(ZeroDivisionError):
        fill("{a / 0}", NAMES)


def test_expressions_change_nothing_of_the_notebook():
    names = dict(NAMES)
    assert fill("{(fresh := 3) + a}", names) == "4"

    assert names == NAMES
