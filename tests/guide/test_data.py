"""The guide's data: enough of it, and what is kept out of training is."""

from __future__ import annotations

import ast
import re

from tests.guide.blocks import blocks
from tools.guide import data

TEXTS = list(data.answers())


def test_there_are_many_topics_and_each_is_asked_in_many_ways() -> None:
    topics = data.topics()

    assert len(topics) >= 60
    for topic in topics:
        assert len(topic.ask) >= 10, topic.name
        assert len(topic.kept_out) >= 2, topic.name
    assert len(data.off_topic().asked.ask) > 100


def test_what_was_asked_once_is_on_topics_that_there_are() -> None:
    assert data.asked_once().keys() <= {"off_topic", *(topic.name for topic in data.topics())}


def test_what_is_kept_out_is_no_wording_of_the_training() -> None:
    trained = [_matcher(pattern) for topic in data.topics() for pattern in topic.ask]
    trained += [_matcher(pattern) for pattern in data.off_topic().asked.ask]
    kept_out = [wording for topic in data.topics() for wording in topic.kept_out]
    kept_out += data.off_topic().asked.kept_out
    kept_out += [question for questions in data.asked_once().values() for question in questions]

    for wording in kept_out:
        bare = wording.rstrip("?!. ").lower()
        assert not any(matcher.fullmatch(bare) for matcher in trained), wording


def _matcher(pattern: str) -> re.Pattern[str]:
    while found := re.search(r"\{(\w+)\}", pattern):
        pattern = pattern.replace(found[0], f"[{'|'.join(data.shared()[found[1]])}]", 1)
    marks = {"[": "(?:", "]": ")", "|": "|", " ": " ?"}
    return re.compile("".join(marks.get(character, re.escape(character)) for character in pattern.lower()))


def test_answers_are_short_and_unlike_each_other() -> None:
    beginnings = [topic.answer[:24] for topic in data.topics()]

    assert len(set(beginnings)) == len(beginnings)
    assert max(len(text) for _, text in TEXTS) < 640


def test_python_in_answers_is_whole() -> None:
    for block in blocks("python"):
        compile(block.code, block.where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
