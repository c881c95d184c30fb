"""What the model makes of wordings that it never saw, asked through the engine that ships."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import data
from .corpus import drawn_result
from .engine import Engine, running

SEED = 7
#: Follow-ups of each kind that are asked at least, however few topics have them.
_FOLLOW_UPS = 40


@dataclass
class Score:
    """One kind of question.

    Attributes:
        wrong: what was asked, and what came, of those that failed.
    """

    kind: str
    asked: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def note(self, question: str, answer: str, *, right: bool) -> None:
        """Count one answer."""
        self.asked += 1
        if not right:
            self.wrong.append((question, answer))

    @property
    def share(self) -> float:
        """Of the answers, those that are right."""
        return 1 - len(self.wrong) / self.asked


def evaluate(path: Path) -> list[Score]:
    """Ask everything; one score for each kind."""
    with running(path) as engine:
        known, refused = _on_topic(engine)
        return [
            known,
            refused,
            _with_system_prompts(engine),
            _behind_others(engine),
            _off_topic(engine),
            *(_follow_up(engine, kind) for kind in data.FOLLOW_UPS),
            *_tools(engine),
            *_asked_once(engine),
        ]


def table(scores: Sequence[Score]) -> str:
    """The scores in Markdown, and below them what failed."""
    lines = ["| Kept out of training | Asked | Right |", "|---|---|---|"]
    lines += [f"| {score.kind} | {score.asked} | {100 * score.share:.1f} % |" for score in scores]
    lines += ["", *(f"{s.kind}: {question!r} -> {answer[:90]!r}" for s in scores for question, answer in s.wrong)]
    return "\n".join(lines) + "\n"


def _on_topic(engine: Engine) -> tuple[Score, Score]:
    known = Score("Questions: the right topic's answer, word for word")
    refused = Score("Questions: not refused as foreign")
    refusal = data.off_topic().answer
    for topic in data.topics():
        for question in topic.kept_out:
            answer = engine.text(question)
            known.note(f"{topic.name}: {question}", answer, right=answer == topic.answer)
            refused.note(f"{topic.name}: {question}", answer, right=answer[:12] != refusal[:12])
    return known, refused


def _with_system_prompts(engine: Engine) -> Score:
    score = Score("The same below system prompts that were kept out too")
    prompts = data.system_prompts().kept_out
    for place, topic in enumerate(data.topics()):
        question, system = topic.kept_out[0], prompts[place % len(prompts)]
        answer = engine.text(question, system=system)
        score.note(f"{topic.name}: {question}", answer, right=answer == topic.answer)
    return score


def _behind_others(engine: Engine) -> Score:
    score = Score("The same behind the answers to two other questions")
    topics = data.topics()
    for place, topic in enumerate(topics):
        others = [topics[(place + step) % len(topics)] for step in (17, 41)]
        turns = [turn for other in others for turn in (other.kept_out[0], other.answer)]
        question = topic.kept_out[1]
        answer = engine.text(*turns, question)
        score.note(f"{topic.name}: {question}", answer, right=answer == topic.answer)
    return score


def _off_topic(engine: Engine) -> Score:
    score = Score("Foreign questions: an honest refusal")
    refusal = data.off_topic()
    for question in refusal.asked.kept_out:
        answer = engine.text(question)
        score.note(question, answer, right=answer == refusal.answer)
    return score


def _follow_up(engine: Engine, kind: str) -> Score:
    score = Score(f"Follow-ups of the kind *{kind}*")
    wordings = data.follow_ups()[kind].kept_out
    topics = [topic for topic in data.topics() if kind in topic.follow]
    for place in range(max(len(topics), _FOLLOW_UPS)):
        topic, wording = topics[place % len(topics)], wordings[place % len(wordings)]
        answer = engine.text(topic.kept_out[0], topic.answer, wording)
        score.note(f"{topic.name}: {wording}", answer, right=answer == topic.follow[kind])
    return score


def _tools(engine: Engine) -> tuple[Score, Score, Score]:
    called = Score("Tools: the right call with the right arguments")
    used = Score("Tools: the result in the answer")
    unused = Score("Tools offered, none fits: an answer without a call")
    rng = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
    offered = [_definition("get_weather", "city"), _definition("add", "a", "b")]
    for tool, values, question in _tool_questions(rng):
        name = "get_weather" if tool == "weather" else "add"
        asked = [{"role": "user", "content": question}]
        message = engine.message(asked, tools=offered)
        calls = message.get("tool_calls") or []
        made = [(c["function"]["name"], _parsed(c["function"]["arguments"])) for c in calls]
        # A sum is the same in either order: "add 81 to 19".
        right = made in ([(name, values)], [(name, dict(zip(values, reversed(values.values()), strict=True)))])
        called.note(question, json.dumps(calls) or str(message["content"]), right=right)
        result, expected = drawn_result(rng, tool, values)
        answer = engine.message([*asked, *_turns_of_a_call(name, values, result)], tools=offered)["content"]
        used.note(f"{question} {result}", str(answer), right=answer == expected)
    for topic in data.topics()[::3]:
        message = engine.message([{"role": "user", "content": topic.kept_out[0]}], tools=offered)
        text = str(message["content"] or "")
        unused.note(topic.kept_out[0], text, right=not message.get("tool_calls") and text == topic.answer)
    return called, used, unused


def _asked_once(engine: Engine) -> tuple[Score, Score]:
    known = Score("Questions written afterwards: the right topic's answer")
    foreign = Score("Foreign questions written afterwards: an honest refusal")
    answers = {topic.name: topic.answer for topic in data.topics()}
    for name, questions in data.asked_once().items():
        for question in questions:
            answer = engine.text(question)
            if name in answers:
                known.note(f"{name}: {question}", answer, right=answer == answers[name])
            else:
                foreign.note(question, answer, right=answer == data.off_topic().answer)
    return known, foreign


def _parsed(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return None


def _tool_questions(rng: random.Random) -> Iterator[tuple[str, dict[str, object], str]]:
    """Kept-out wordings with kept-out cities, and with numbers."""
    tools = data.tools()
    for city in tools["kept_out_cities"]:
        wording = rng.choice(tools["tools"]["weather"]["kept_out"])
        yield "weather", {"city": city}, re.sub("^.", lambda first: first[0].upper(), wording.format(city=city)) + "?"
    for _ in range(len(tools["kept_out_cities"])):
        values: dict[str, object] = {"a": rng.randrange(100), "b": rng.randrange(100)}
        yield "add", values, rng.choice(tools["tools"]["add"]["kept_out"]).format(**values)


def _definition(name: str, *parameters: str) -> dict[str, Any]:
    kind = "string" if parameters == ("city",) else "integer"
    properties = {parameter: {"type": kind} for parameter in parameters}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": "What it does.", "parameters": schema}}


def _turns_of_a_call(name: str, values: dict[str, object], result: str) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": json.dumps(values)}
    call = {"id": "call_1", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": result},
    ]
