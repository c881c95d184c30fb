"""How often the shipped file is right, by the engine that ships; docs/guide.md has the numbers in full."""

from __future__ import annotations

import pytest

from bodhi_jupyter.models.box import GUIDE
from tools.guide.evaluate import Score, evaluate, table

#: Other processors round differently, and a close call may fall the other way.
MARGIN = 0.03
#: The table's shares.
EXPECTED: dict[str, float] = {
    "Questions: the right topic's answer, word for word": 0.950,
    "Questions: not refused as foreign": 0.997,
    "The same below system prompts that were kept out too": 0.969,
    "The same behind the answers to two other questions": 0.918,
    "Foreign questions: an honest refusal": 0.966,
    "Follow-ups of the kind *code*": 1.000,
    "Follow-ups of the kind *stream*": 1.000,
    "Follow-ups of the kind *more*": 0.958,
    "Tools: the right call with the right arguments": 0.933,
    "Tools: the result in the answer": 0.950,
    "Tools offered, none fits: an answer without a call": 0.970,
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
