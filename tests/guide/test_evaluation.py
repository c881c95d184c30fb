"""How often the shipped file is right, by the engine that ships; docs/guide.md has the numbers in full."""

from __future__ import annotations

import pytest

from bodhi_jupyter.models.box import GUIDE
from tools.guide.evaluate import Score, evaluate, table

#: Other processors round differently, and a close call may fall the other way.
MARGIN = 0.03
#: The table's shares.
EXPECTED: dict[str, float] = {
    "Questions: the right topic's answer, word for word": 0.964,
    "Questions: not refused as foreign": 1.000,
    "The same below system prompts that were kept out too": 0.969,
    "The same behind the answers to two other questions": 0.908,
    "Foreign questions: an honest refusal": 0.991,
    "Follow-ups of the kind *code*": 0.975,
    "Follow-ups of the kind *stream*": 1.000,
    "Follow-ups of the kind *more*": 0.989,
    "Tools: the right call with the right arguments": 0.917,
    "Tools: the result in the answer": 0.950,
    "Tools offered, none fits: an answer without a call": 1.000,
    "Questions written afterwards: the right topic's answer": 0.995,
    "Foreign questions written afterwards: an honest refusal": 1.000,
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
