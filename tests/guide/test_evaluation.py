"""How often the shipped file is right, by the engine that ships; docs/guide.md has the numbers in full."""

from __future__ import annotations

import pytest

from bodhi_jupyter.models.box import FILE
from tools.guide.evaluate import Score, evaluate, table

#: Other processors round differently, and a close call may fall the other way.
MARGIN = 0.03
#: The table's shares.
EXPECTED: dict[str, float] = {
    "Questions: the right topic's answer, word for word": 0.845,
    "Questions: not refused as foreign": 0.996,
    "The same below system prompts that were kept out too": 0.789,
    "Foreign questions: an honest refusal": 0.812,
    "Follow-ups of the kind *code*": 0.400,
    "Follow-ups of the kind *stream*": 0.800,
    "Follow-ups of the kind *more*": 0.522,
    "Tools: the right call with the right arguments": 0.000,
    "Tools: the result in the answer": 0.150,
    "Tools offered, none fits: an answer without a call": 0.875,
}


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return evaluate(FILE)


@pytest.mark.timeout(600)
def test_it_is_right_as_often_as_it_was(scores: list[Score]) -> None:
    shown = table(scores)
    assert {score.kind for score in scores} == set(EXPECTED)
    for score in scores:
        assert score.share >= EXPECTED[score.kind] - MARGIN, shown
