"""What the guide learns from: conversations as the template writes them."""

from __future__ import annotations

import json
import random
import re

import gguf
from jinja2 import Template

from bodhi_jupyter.models.box import GUIDE
from tools.guide import corpus, names

RNG = random.Random(3)
SHARES = corpus.Shares(tools=0.25, follow_ups=0.2, turn_before=0.1)
CONVERSATIONS = [corpus.draw(RNG, SHARES) for _ in range(500)]


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


def test_tools_are_listed_as_in_the_template_of_the_file() -> None:
    template = Template(gguf.GGUFReader(GUIDE.file).fields["tokenizer.chat_template"].contents())
    offered = {"add": ["a", "b"], "get_weather": ["city"], "now": []}
    tools = [
        {
            "type": "function",
            "function": {"name": name, "parameters": {"type": "object", "properties": {k: {} for k in keys}}},
        }
        for name, keys in offered.items()
    ]
    rendered = template.render(tools=tools, messages=[{"role": "user", "content": "Add 1 and 2."}])

    listed = "\n".join(corpus.listing(name, keys) for name, keys in offered.items())
    assert rendered == f"<|tools|> {listed}<|end|><|user|> Add 1 and 2.<|end|>"


def test_names_that_nobody_knows_are_of_all_kinds() -> None:
    made = [names.unheard_of(RNG) for _ in range(1000)]

    assert all(re.fullmatch(r"[A-Z][A-Za-z]*(?:(?:\.? |-| [a-z]+ |-[a-z]+-)[A-Z][A-Za-z]*)*\.?", name) for name in made)
    assert any(re.search(r"\b(\w+)\W\1\b", name) for name in made), "none repeats a word"
    assert any("." in name for name in made)
    assert set("abcdefghijklmnopqrstuvwxyz") <= set("".join(made).lower())


def test_an_adverbial_stands_behind_questions_where_it_is_asked_for() -> None:
    def shares_of_at_least(adverbials: float) -> float:
        rng, shares = random.Random(5), corpus.Shares(0.5, 0.0, 0.0, adverbials)
        drawn = [corpus.draw(rng, shares) for _ in range(400)]
        return sum(any("at least" in turn.text.lower() for turn in conversation) for conversation in drawn) / len(drawn)

    assert shares_of_at_least(0.0) < 0.01
    assert shares_of_at_least(1.0) > 0.05
