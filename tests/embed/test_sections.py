"""The documentation as a search sees it, and the sections that answer a topic."""

from __future__ import annotations

import pytest

from tools.embed.sections import labels, sections
from tools.guide import data

NAMES = [section.name for section in sections()]


def test_every_section_has_a_name_of_its_own_and_something_to_say() -> None:
    assert len(NAMES) == len(set(NAMES)) > 70
    for section in sections():
        assert section.passages
        for passage in section.passages:
            title, _, text = passage.partition("\n")
            assert title == section.title
            assert text.strip()


@pytest.mark.parametrize("topic", labels())
def test_the_sections_of_a_topic_are_there(topic: str) -> None:
    assert topic in {one.name for one in data.topics()}
    assert labels()[topic]
    assert set(labels()[topic]) <= set(NAMES)


def test_a_code_block_is_no_heading_and_a_row_is_a_passage() -> None:
    """A comment of a shell begins as a heading does."""
    by_name = {section.name: section for section in sections()}

    (shell, *_) = by_name["README.md#bodhi-jupyter"].passages
    assert "# run the tests" in shell
    rows = by_name["docs/configuration.md#Kernels"].passages
    assert sum("`c.BodhiExtension.kernel_" in row for row in rows) == 2
    assert not any("|---|" in row for row in rows)
