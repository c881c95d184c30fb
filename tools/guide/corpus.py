"""Conversations to learn from, drawn from the data: wordings, typing errors, system prompts, turns before, tools."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import data, names

#: Of the questions those that are foreign.
_OFF_TOPIC = 0.25
#: Of the follow-ups; few topics have code or a stream to show.
_KINDS = {"code": 0.2, "stream": 0.2, "more": 0.6}
#: Of single questions: those with a system prompt, and, of those without anything around them, those typed as where
#: tools are at hand.
_SYSTEM = 0.25
_CAPITALS = 0.3
#: Where tools are at hand: of single questions, those with a turn before.
_TURN_BEFORE = 0.04
#: Of conversations where tools are at hand, those with a question that none of them fits.
_NONE_FITS = 0.4
#: Of system prompts: those that are made of sentences of all kinds, as what they say changes no answer.
_ANY_SYSTEM = 0.5

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SHARED = re.compile(r"\{(\w+)\}")
_BEFORE = (
    "hi, ", "hello, ", "hey, ", "hi guide, ", "hello guide, ", "good morning, ", "thanks, and ", "ok thanks, ",
    "please, ", "sorry, ", "ok, ", "so ", "and ", "quick question: ", "one question: ",
    "can you tell me ", "could you explain ", "i want to know ", "tell me ",
    "i'm new here. ", "help: ", "just wondering, ",
    "do you know ", "i would like to know ", "please tell me ", "um ", "well, ",
)  # fmt: skip
_AFTER = (
    " please",
    " thanks",
    ", please",
    " here",
    " exactly",
    " again",
    " now",
    " today",
    " then",
    " for me",
    " in my case",
)
#: What may stand behind any question, and tells no topic. Twice what is asked most, for what has to be there at least.
_ADVERBIALS = (
    " at least", " at least", " at most", " at all", " actually", " currently", " in general", " normally",
    " at the moment", " in the end", " as well", " otherwise", " really", " only", " exactly", " anyway",
)  # fmt: skip
#: Words that mean little.
_FILLERS = frozenset(
    (
        "a",
        "an",
        "the",
        "my",
        "is",
        "are",
        "do",
        "does",
        "i",
        "can",
        "to",
        "of",
        "for",
        "it",
        "this",
        "that",
        "with",
        "in",
        "on",
        "me",
        "you",
        "and",
        "so",
        "please",
    )
)
_SYNONYMS = {
    word: group
    for group in (
        ("use", "work with", "employ", "utilise"),
        ("make", "create", "build", "set up"),
        ("delete", "remove", "get rid of", "erase"),
        ("show", "display", "give me", "see"),
        ("change", "modify", "adjust", "alter", "switch"),
        ("start", "launch", "run", "begin"),
        ("get", "obtain", "have"),
        ("bigger", "larger", "better", "stronger", "smarter"),
        ("answer", "reply", "response"),
        ("error", "failure", "problem", "message"),
        ("fast", "quick", "speedy"),
        ("limit", "restrict", "cap"),
        ("connect", "hook up", "attach", "link"),
        ("explain", "describe", "tell me about"),
        ("need", "require"),
        ("works", "functions"),
        ("computer", "machine", "laptop", "pc"),
        ("send", "transmit", "pass"),
        ("folder", "directory"),
        ("setting", "option", "parameter"),
        ("notebook", "jupyter notebook"),
    )
    for word in group
    if " " not in word
}


@dataclass(frozen=True)
class Turn:
    """A message: what role says what.

    Attributes:
        given: whether this stands before what is learned, though the assistant says it.
    """

    role: str
    text: str
    given: bool = False


#: Turns in order; what the assistant says is learned, but for what is given.
Conversation = tuple[Turn, ...]


@dataclass(frozen=True)
class Shares:
    """What conversations are drawn of; the rest is single questions.

    Attributes:
        tools: those where tools are at hand.
        follow_ups: those that need the turn before.
        turn_before: of single questions, those with a turn before that says nothing on them.
        adverbials: of single questions, those with one behind them.
    """

    tools: float
    follow_ups: float
    turn_before: float
    adverbials: float = 0.0


def draw(rng: random.Random, shares: Shares) -> Conversation:
    """One conversation of any kind."""
    share = rng.random()
    if share < shares.tools:
        return _tools(rng, shares.adverbials)
    if share < shares.tools + shares.follow_ups:
        return _lowered(_follow_up(rng))
    asked = _foreign(rng) if rng.random() < _OFF_TOPIC else _own(rng)
    return _lowered(_single(rng, *asked, turn_before=shares.turn_before, adverbials=shares.adverbials))


def _lowered(conversation: Conversation) -> Conversation:
    """As the template writes it: without tools a user's capitals say nothing."""
    return tuple(replace(turn, text=turn.text.lower()) if turn.role == "user" else turn for turn in conversation)


def _foreign(rng: random.Random) -> tuple[str, str]:
    refusal = data.off_topic()
    return realise(rng, rng.choice(refusal.asked.ask)), refusal.answer


def _own(rng: random.Random) -> tuple[str, str]:
    topic = rng.choice(data.topics())
    return realise(rng, rng.choice(topic.ask)), topic.answer


def realise(rng: random.Random, pattern: str) -> str:
    """One text of a pattern, its choices made."""
    while found := _SHARED.search(pattern):
        pattern = pattern[: found.start()] + rng.choice(data.shared()[found[1]]) + pattern[found.end() :]
    while found := _CHOICE.search(pattern):
        pattern = pattern[: found.start()] + rng.choice(found[1].split("|")) + pattern[found.end() :]
    return " ".join(pattern.split())


def varied(rng: random.Random, text: str) -> str:
    """The text as somebody else types it."""
    words = [_synonym(rng, word) for word in text.split()]
    if len(words) > 3 and rng.random() < 0.5:
        words = _fewer(rng, words)
    if rng.random() < 0.05:
        rng.shuffle(words)
    if rng.random() < 0.08:
        place = rng.randrange(len(words))
        words[place] = _mistyped(rng, words[place])
    text = " ".join(words)
    if rng.random() < 0.15:
        text = rng.choice(_BEFORE) + text
    if rng.random() < 0.08:
        text += rng.choice(_AFTER)
    return _spelt(rng, text)


def _fewer(rng: random.Random, words: list[str]) -> list[str]:
    """Some words are missing, above all those that mean little: none may be all that tells a topic."""
    return [word for word in words if rng.random() > (0.3 if word.lower() in _FILLERS else 0.12)] or words


def _synonym(rng: random.Random, word: str) -> str:
    group = _SYNONYMS.get(word.lower())
    return rng.choice(group) if group and rng.random() < 0.25 else word


def _mistyped(rng: random.Random, word: str) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    place = rng.randrange(1, len(word) - 1)
    if rng.random() < 0.5:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _spelt(rng: random.Random, text: str) -> str:
    text = text.rstrip("?.! ")
    manner = rng.random()
    if manner < 0.45:
        text = text.lower()
    elif manner < 0.9:
        text = text[:1].upper() + text[1:]
    elif manner < 0.93:
        text = text.upper()
    return text + rng.choice(("?", "?", "?", "", "", ".", "??", "!"))


def _single(
    rng: random.Random, question: str, answer: str, *, turn_before: float = _TURN_BEFORE, adverbials: float
) -> Conversation:
    # Nothing is drawn where there are none: the parts before stay what they are.
    if adverbials and rng.random() < adverbials:
        question += rng.choice(_ADVERBIALS)
    turns = [Turn("user", varied(rng, question)), Turn("assistant", answer)]
    if rng.random() < turn_before:
        turns = [*_any_turn(rng), *turns]
    return (*_system(rng), *turns)


def asked(rng: random.Random) -> tuple[str, str]:
    """A question without anything around it, and its answer; where tools are offered, capitals stay."""
    question, answer = _foreign(rng) if rng.random() < _OFF_TOPIC else _own(rng)
    question = varied(rng, question)
    return question if rng.random() < _CAPITALS else question.lower(), answer


def _system(rng: random.Random) -> list[Turn]:
    if rng.random() >= _SYSTEM:
        return []
    if rng.random() >= _ANY_SYSTEM:
        return [Turn("system", realise(rng, rng.choice(data.system_prompts().ask)))]
    sentences = [realise(rng, rng.choice(rng.choice(_sources()))) for _ in range(rng.choice((1, 1, 2)))]
    return [Turn("system", " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences))]


def _sources() -> tuple[Sequence[str], ...]:
    return (data.system_prompts().ask, data.off_topic().asked.ask, *(topic.ask for topic in data.topics()[::4]))


def _any_turn(rng: random.Random) -> list[Turn]:
    return _before(rng, *(_foreign(rng) if rng.random() < _OFF_TOPIC else _own(rng)))


def _before(rng: random.Random, question: str, answer: str) -> list[Turn]:
    return [Turn("user", varied(rng, question)), Turn("assistant", answer, given=True)]


def _follow_up(rng: random.Random) -> Conversation:
    (kind,) = rng.choices(list(_KINDS), list(_KINDS.values()))
    topic = rng.choice([topic for topic in data.topics() if kind in topic.follow])
    question = realise(rng, rng.choice(data.follow_ups()[kind].ask))
    before = _before(rng, realise(rng, rng.choice(topic.ask)), topic.answer)
    earlier = _any_turn(rng) if rng.random() < 0.1 else []
    after = [Turn("user", _spelt(rng, question)), Turn("assistant", topic.follow[kind])]
    return (*_system(rng), *earlier, *before, *after)


def _tools(rng: random.Random, adverbials: float) -> Conversation:
    """Tools at hand: questions that need one, each with its call, its result and an answer, or one that needs none."""
    offered = rng.sample(sorted(data.tools()["tools"]), rng.choice((1, 2, 2)))
    named = [_named(rng, tool) for tool in offered]
    listed = Turn("tools", "\n".join(listing(name, parameters) for name, parameters in named))
    if rng.random() < _NONE_FITS:
        return (listed, *_single(rng, *(_foreign(rng) if rng.random() < 0.3 else _own(rng)), adverbials=adverbials))
    turns = [listed, *_system(rng)]
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(len(offered))
        turns += _round(rng, offered[place], *named[place])
    return tuple(turns if rng.random() < 0.6 else turns[:-2])


def _round(rng: random.Random, tool: str, name: str, parameters: Sequence[str]) -> tuple[Turn, Turn, Turn, Turn]:
    """A question, the call of a tool that goes by this name, its result, and the answer."""
    values = drawn_values(rng, tool)
    lists = {key: f"{{{key}}}" for key in data.shared()}
    question = realise(rng, rng.choice(data.tools()["tools"][tool]["ask"]).format(**values, **lists))
    arguments = dict(zip(parameters, values.values(), strict=True))
    result, answer = drawn_result(rng, tool, values)
    return (
        Turn("user", _spelt_with_names(rng, question)),
        Turn("assistant", call(name, arguments)),
        Turn("tool", result),
        Turn("assistant", answer),
    )


def _named(rng: random.Random, tool: str) -> tuple[str, Sequence[str]]:
    """One of a tool's names, and names of its parameters."""
    entry = data.tools()["tools"][tool]
    return rng.choice(entry["names"]), rng.choice(entry["parameters"])


def listing(name: str, parameters: Sequence[str]) -> str:
    """A tool as the template writes it: as its calls begin, so that they can be taken over from there."""
    keys = ", ".join(f'"{parameter}"' for parameter in parameters)
    return f'{{"name": "{name}", "arguments": {{{keys}}}}}'


def call(name: str, arguments: dict[str, object]) -> str:
    """A call as the template writes it."""
    return f'<tool_call>{{"name": "{name}", "arguments": {json.dumps(arguments)}}}</tool_call>'


def usual_name(rng: random.Random) -> str:
    """A name to learn pieces from: of a city, or made of usual syllables."""
    return str(rng.choice(data.tools()["cities"])) if rng.random() < 0.5 else names.usual(rng)


def drawn_values(rng: random.Random, tool: str) -> dict[str, object]:
    """What a question names: a city, or two numbers."""
    if tool == "weather":
        # A name that nobody knows can only be copied, and that is what has to be learned.
        return {"city": rng.choice(data.tools()["cities"]) if rng.random() < 0.5 else names.unheard_of(rng)}
    return {"a": _number(rng), "b": _number(rng)}


def _number(rng: random.Random) -> int:
    return rng.randrange(10 ** rng.choice((1, 2, 2, 2, 3)))


def drawn_result(rng: random.Random, tool: str, values: dict[str, object]) -> tuple[str, str]:
    """What a tool says, and the sentence that is made of it."""
    if tool == "weather":
        sky, degrees = rng.choice(data.tools()["skies"]), rng.randrange(-15, 40)
        result = json.dumps(
            {rng.choice(("temperature", "temp", "degrees")): degrees, rng.choice(("sky", "weather")): sky}
        )
        if rng.random() < 0.3:
            result = f"{degrees} degrees, {sky}"
        return result, f"It is {degrees} degrees and {sky} in {values['city']}."
    total = str(_number(rng) + _number(rng))
    return rng.choice((total, json.dumps({"result": int(total)}))), f"The result is {total}."


def _spelt_with_names(rng: random.Random, text: str) -> str:
    """Capitals stay: a city's name is taken over as it is written."""
    text = text.rstrip("?.! ")
    return (text[:1].upper() + text[1:] if rng.random() < 0.6 else text) + rng.choice(("?", "?", "", "."))


def texts(conversations: Sequence[Conversation]) -> list[str]:
    """The lines of all turns, for the tokenizer."""
    return [
        line
        for turns in conversations
        for turn in turns
        for line in (turn.text if turn.role == "assistant" else f" {turn.text}").split("\n")
        if line
    ]
