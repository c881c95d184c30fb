"""How often the shipped file is right, by the engine that ships; docs/guide.md has the numbers in full."""

from __future__ import annotations

import pytest

from bodhi_jupyter.models.box import GUIDE
from tools.guide.evaluate import Score, evaluate, table

#: Other processors round differently, and a close call may fall the other way.
MARGIN = 0.03
#: The table's shares.
EXPECTED: dict[str, float] = {
    "Questions: the right topic's answer, word for word": 0.942,  # wanted: 0.95
    "Questions: not refused as foreign": 0.994,
    "The same below system prompts that were kept out too": 0.959,
    "The same behind the answers to two other questions": 0.867,
    "Foreign questions: an honest refusal": 0.974,
    "Follow-ups of the kind *code*": 1.000,
    "Follow-ups of the kind *stream*": 1.000,
    "Follow-ups of the kind *more*": 1.000,
    "Tools: the right call with the right arguments": 0.833,  # wanted: 0.90
    "Tools: the result in the answer": 0.833,  # wanted: 0.90
    "Tools offered, none fits: an answer without a call": 0.939,
}


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return evaluate(GUIDE.file)


@pytest.mark.timeout(600)
def test_it_is_right_as_often_as_it_was(scores: list[Score]) -> None:
    shown = table(scores)
    assert {score.kind for score in scores} == set(EXPECTED)
    for score in scores:
        assert score.share >= EXPECTED[score.kind] - MARGIN, shown
