"""How often the shipped file finds the right section, by the engine that ships; docs/guide.md has the whole table."""

from __future__ import annotations

import numpy as np
import pytest

from bodhi_jupyter.models.box import EMBEDDER
from tools.embed.evaluate import HALVES, Score, score, searching, table
from tools.embed.sections import labels, sections

#: The documentation changes more often than the model.
MARGIN = 0.05
#: The table's shares: a right section is the first, or among three.
EXPECTED = {"looked at": (0.961, 1.0), "not looked at": (0.948, 0.983)}


def test_it_finds_the_right_section_as_often_as_it_did() -> None:
    with searching(EMBEDDER.file) as search:
        for name, half in HALVES.items():
            found = score(name, EMBEDDER.name, search, labels(), half)
            for places, share in zip((1, 3), EXPECTED[name], strict=True):
                assert found.within(places) >= share - MARGIN, table([found])


@pytest.mark.parametrize(
    ("fits", "rank"),
    [("right", 1.0), ("wrong", len(sections())), ("alike", (len(sections()) + 1) / 2)],
)
def test_a_rank_is_that_of_the_right_section(fits: str, rank: float) -> None:
    right = [section.name in labels()["metrics"] for section in sections()]
    found = {"right": np.array(right), "wrong": ~np.array(right), "alike": np.ones(len(right))}[fits]

    assert set(score("", "", lambda question: found.astype(float), ["metrics"], slice(None)).ranks) == {rank}


def test_what_ranks_come_to() -> None:
    found = Score("Questions", "guesses", [1, 2, 4, 10])

    assert (found.within(1), found.within(3)) == (0.25, 0.5)
    assert found.reciprocal == pytest.approx(1.85 / 4)
    assert "| Questions | 4 | guesses | 25.0 % | 50.0 % | 0.463 |" in table([found])
