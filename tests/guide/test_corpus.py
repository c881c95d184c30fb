"""What the guide learns from: conversations as the template writes them."""

from __future__ import annotations

import json
import random
import re

from tools.guide import corpus

RNG = random.Random(3)
CONVERSATIONS = [corpus.draw(RNG) for _ in range(500)]


def test_an_answer_comes_last() -> None:
    assert {conversation[-1].role for conversation in CONVERSATIONS} == {"assistant"}


def test_capitals_stay_where_there_are_tools_alone() -> None:
    asked = {
        (conversation[0].role == "tools", turn.text.islower())
        for conversation in CONVERSATIONS
        for turn in conversation
        if turn.role == "user" and re.search("[A-Za-z]", turn.text)
    }

    assert (True, False) in asked
    assert (False, False) not in asked


def test_what_a_call_names_stands_in_the_question() -> None:
    calls = 0
    for conversation in CONVERSATIONS:
        question = " ".join(turn.text for turn in conversation if turn.role == "user")
        for called in re.findall("<tool_call>(.*)</tool_call>", conversation[-1].text):
            calls += 1
            assert all(str(value) in question for value in json.loads(called)["arguments"].values())

    assert calls > 20
