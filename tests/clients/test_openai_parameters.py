"""Every parameter that the OpenAI SDK has for chats and completions, against the engine, in four ways of asking.

A parameter that a new version of the SDK brings fails these tests until somebody has decided what it does here.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import openai
import pytest
from openai.resources.chat.completions import Completions as Chats
from openai.resources.completions import Completions

from tests.clients.strict import Told, arguments, of_chat, of_chunks, of_text, of_text_chunks
from tests.live.server import PATIENCE, LiveServer

HELLO = {"role": "user", "content": "hello"}
#: Always the likeliest token, so that all ways of asking get the same answer.
CHAT: dict[str, Any] = {"model": "default", "messages": [HELLO], "max_tokens": 6, "temperature": 0}
TEXT: dict[str, Any] = {"model": "default", "prompt": "once upon", "max_tokens": 6, "temperature": 0}
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"name": "weather", "description": "The weather.", "parameters": CITY}
TIME = {"name": "time", "description": "The time.", "parameters": CITY}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": TIME}]
#: Random weights would never begin a call by themselves; the tools' grammar goes on from here.
BEGUN: dict[str, Any] = {"messages": [HELLO, {"role": "assistant", "content": "<tool_call>"}], "max_tokens": 90}
#: The same where a call is not required; the token of its beginning is preferred to all words.
BIASED: dict[str, Any] = {"logit_bias": {"259": 100}, "max_tokens": 60}


class Case(NamedTuple):
    """A value for a parameter, what else is asked, and what must be true of the answer."""

    value: Any
    more: Mapping[str, Any] = MappingProxyType({})
    holds: Callable[[Told, Told], bool] = lambda told, plain: told == plain


def differs(told: Told, plain: Told) -> bool:
    return told.text != plain.text


def answers(told: Told, plain: Told) -> bool:
    return bool(told.text)


def ends(reason: str) -> Callable[[Told, Told], bool]:
    return lambda told, plain: {choice.finish_reason for choice in told.choices.values()} == {reason}


def calls(name: str) -> Callable[[Told, Told], bool]:
    def holds(told: Told, plain: Told) -> bool:
        return told.choices[0].calls[0][0] == name and arguments(told)["city"] in {"Oslo", "Rome"}

    return holds


def with_tools(**more: Any) -> dict[str, Any]:
    return {"tools": TOOLS, **BEGUN, **more}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _is_one_token(told: Told, plain: Told) -> bool:
    return told.usage is not None and told.usage[1] == 1


def _is_json(told: Told, plain: Told) -> bool:
    return json.loads(told.text)["city"] in {"Oslo", "Rome"}


def _has_tokens(alternatives: int) -> Callable[[Told, Told], bool]:
    def holds(told: Told, plain: Told) -> bool:
        tokens = told.choices[0].tokens
        return "".join(token for token, _ in tokens) == told.text and {many for _, many in tokens} == {alternatives}

    return holds


def _are_several(told: Told, plain: Told) -> bool:
    return [choice.text for choice in told.choices.values()] == [plain.text] * 3


#: The same answer as without it: accepted, and without effect here.
IGNORED = object()

CHATS: dict[str, list[Case] | object] = {
    "messages": [
        Case([{"role": "developer", "content": "Be brief."}, HELLO], holds=answers),
        Case([{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, HELLO], holds=answers),
        Case([HELLO, {"role": "assistant", "content": "hi", "name": "bot"}, HELLO], holds=differs),
        Case([HELLO, {"role": "assistant", "content": None, "refusal": "no"}, HELLO], holds=answers),
        Case([{"role": "user", "content": [{"type": "text", "text": "hello"}]}]),
    ],
    "model": [Case("default"), Case("tiny-random")],
    "audio": [Case({"voice": "alloy", "format": "mp3"})],
    "frequency_penalty": [Case(0), Case(-2.0), Case(2, {"max_tokens": 24}, answers)],
    "function_call": [
        Case("auto", {"functions": [WEATHER], **BIASED}, calls("weather")),
        Case("none", {"functions": [WEATHER]}, answers),
        Case(
            {"name": "time"},
            {"functions": [WEATHER, TIME], **BEGUN},
            lambda told, plain: calls("time")(told, plain) and ends("function_call")(told, plain),
        ),
    ],
    "functions": [Case([WEATHER], BIASED, calls("weather"))],
    "logit_bias": [Case({}), Case({"llama": 5}), Case({"300": -100}), Case({"300": 100}, holds=differs)],
    "logprobs": [Case(False), Case(True, holds=_has_tokens(0))],
    "max_completion_tokens": [Case(1, {"max_tokens": openai.omit}, _is_one_token)],
    "max_tokens": [Case(1, holds=_is_one_token), Case(0, holds=_is_one_token), Case(6)],
    "metadata": [Case({"topic": "test"})],
    "modalities": [Case(["text"])],
    "moderation": [Case({"model": "omni-moderation-latest"})],
    "n": [Case(1), Case(3, holds=_are_several)],
    "parallel_tool_calls": [Case(False, with_tools(tool_choice=named("time")), calls("time"))],
    "prediction": [Case({"type": "content", "content": "hello"})],
    "presence_penalty": [Case(0), Case(-2.0), Case(2, {"max_tokens": 24}, answers)],
    "prompt_cache_key": [Case("key")],
    "prompt_cache_options": [Case({"mode": "auto"})],
    "prompt_cache_retention": [Case("24h")],
    "reasoning_effort": [Case(effort, holds=answers) for effort in ("none", "minimal", "low", "medium", "high")],
    "response_format": [
        Case({"type": "text"}),
        Case({"type": "json_object"}, {"max_tokens": 12}, lambda told, plain: told.text.lstrip().startswith("{")),
        *(
            Case(
                {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY, "strict": strict}},
                {"max_tokens": 80},
                _is_json,
            )
            for strict in (True, False)
        ),
    ],
    "safety_identifier": [Case("ann")],
    "seed": [Case(7), Case(-9007199254740991), Case(7, {"temperature": 1}, answers)],
    "service_tier": [Case("auto")],
    "stop": [Case([]), Case("!!!"), Case(["a", "e", "i", "o"], holds=ends("stop")), Case(["", "zzz"])],
    "store": [Case(False), Case(True)],
    "stream": IGNORED,  # every case is asked with it and without
    "stream_options": [
        Case({"include_usage": True, "include_obfuscation": False}),
        Case({"include_usage": False}, holds=lambda told, plain: told.choices == plain.choices),
    ],
    "temperature": [Case(0), Case(2.0, holds=answers)],
    "tool_choice": [
        Case("none", {"tools": TOOLS}),
        Case("auto", {"tools": TOOLS}, answers),
        Case("required", with_tools(), lambda told, plain: bool(told.choices[0].calls)),
        Case(named("weather"), with_tools(), calls("weather")),
        Case(named("time"), with_tools(), calls("time")),
        Case(
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("time")]}},
            with_tools(parallel_tool_calls=False),
            calls("time"),
        ),
    ],
    "tools": [Case(TOOLS, with_tools(tool_choice=named("weather")), calls("weather"))],
    "top_logprobs": [Case(0, {"logprobs": True}, _has_tokens(0)), Case(3, {"logprobs": True}, _has_tokens(3))],
    "top_p": [Case(1), Case(0.1), Case(0, {"temperature": 1}, answers)],
    "user": [Case("ann")],
    "verbosity": [Case("low")],
    "web_search_options": [Case({"search_context_size": "low"})],
    "extra_headers": [Case({"x-mine": "1"})],
    "extra_query": [Case({"mine": "1"})],
    "extra_body": [Case({"min_p": 0, "chat_template_kwargs": {"x": 1}, "cache_prompt": True})],
    "timeout": [Case(PATIENCE)],
}

TEXTS: dict[str, list[Case] | object] = {
    "model": [Case("default"), Case("tiny-random")],
    "prompt": [
        Case("a", holds=answers),
        Case([300, 301], holds=answers),
        Case(["once upon", "once upon", "once upon"], holds=_are_several),
        Case([[300], [301]], holds=lambda told, plain: set(told.choices) == {0, 1}),
    ],
    "best_of": [Case(1)],
    "echo": [Case(False), Case(True, holds=lambda told, plain: told.text == "once upon" + plain.text)],
    "frequency_penalty": [Case(0)],
    "logit_bias": [Case({"llama": 5}), Case({"300": 100}, holds=differs)],
    "logprobs": [Case(0, holds=_has_tokens(0)), Case(5, holds=_has_tokens(0))],
    "max_tokens": [Case(1, holds=_is_one_token), Case(0, holds=lambda told, plain: told.text == "")],
    "n": [Case(1), Case(3, holds=_are_several)],
    "presence_penalty": [Case(0)],
    "seed": [Case(7)],
    "stop": [Case(["a", "e", "i", "o"], holds=ends("stop"))],
    "stream": IGNORED,
    "stream_options": [Case({"include_usage": True})],
    "suffix": [Case("")],
    "temperature": [Case(0), Case(2.0, holds=answers)],
    "top_p": [Case(1), Case(0.1)],
    "user": [Case("ann")],
    "extra_headers": [Case({"x-mine": "1"})],
    "extra_query": [Case({"mine": "1"})],
    "extra_body": [Case({"min_p": 0})],
    "timeout": [Case(PATIENCE)],
}


def cases(table: dict[str, list[Case] | object]) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}-{number}")
        for name, some in table.items()
        if isinstance(some, list)
        for number, case in enumerate(some)
    ]


@pytest.mark.parametrize(
    ("method", "table"), [(Chats.create, CHATS), (Completions.create, TEXTS)], ids=["chat", "text"]
)
def test_every_parameter_of_the_sdk_is_decided_upon(method, table) -> None:
    parameters = set(inspect.signature(method).parameters) - {"self"}
    assert "temperature" in parameters
    # An older SDK may have fewer.
    assert parameters <= set(table)


class Asker:
    """The same question in four ways: at once and streamed, with the SDK's two clients."""

    def __init__(self, server: LiveServer, runner: asyncio.Runner) -> None:
        options: dict[str, Any] = {
            "base_url": f"{server.url}/v1",
            "api_key": server.token,
            "organization": "",
            "project": "",
            "max_retries": 0,
            "timeout": PATIENCE,
        }
        self._runner = runner
        self.client = openai.OpenAI(**options, http_client=openai.DefaultHttpxClient(trust_env=False))
        self.patient = openai.AsyncOpenAI(**options, http_client=openai.DefaultAsyncHttpxClient(trust_env=False))

    def close(self) -> None:
        self.client.close()
        self._runner.run(self.patient.close())

    def chat(self, **asked: Any) -> list[Told]:
        return [
            of_chat(self.client.chat.completions.create(**asked)),
            of_chat(self._runner.run(self.patient.chat.completions.create(**asked))),
            of_chunks(self.client.chat.completions.create(**streamed(asked))),
            of_chunks(self._runner.run(self._collected(self.patient.chat.completions.create(**streamed(asked))))),
        ]

    def text(self, **asked: Any) -> list[Told]:
        return [
            of_text(self.client.completions.create(**asked)),
            of_text(self._runner.run(self.patient.completions.create(**asked))),
            of_text_chunks(self.client.completions.create(**streamed(asked))),
            of_text_chunks(self._runner.run(self._collected(self.patient.completions.create(**streamed(asked))))),
        ]

    @staticmethod
    async def _collected(stream: Any) -> list[Any]:
        return [chunk async for chunk in await stream]


def streamed(asked: dict[str, Any]) -> dict[str, Any]:
    return {"stream_options": {"include_usage": True}, **asked, "stream": True}


@pytest.fixture(scope="module")
def ask(engine_server: LiveServer) -> Iterator[Asker]:
    with asyncio.Runner() as runner:
        asker = Asker(engine_server, runner)
        yield asker
        asker.close()


@pytest.fixture(scope="module")
def plain_chat(ask: Asker) -> Told:
    told, *others = ask.chat(**CHAT)
    assert others == [told] * 3
    assert told.usage is not None
    assert (told.choices[0].finish_reason, told.usage[1]) == ("length", 6)
    return told


@pytest.fixture(scope="module")
def plain_text(ask: Asker) -> Told:
    told, *others = ask.text(**TEXT)
    assert others == [told] * 3
    return told


@pytest.mark.parametrize(("name", "case"), cases(CHATS))
def test_chat(ask, plain_chat, name, case) -> None:
    check(ask.chat(**{**CHAT, **case.more, name: case.value}), case, plain_chat)


@pytest.mark.parametrize(("name", "case"), cases(TEXTS))
def test_text(ask, plain_text, name, case) -> None:
    check(ask.text(**{**TEXT, **case.more, name: case.value}), case, plain_text)


def check(told: list[Told], case: Case, plain: Told) -> None:
    greedy = case.more.get("temperature", 0) == 0 and not isinstance(case.value, float)
    for one in told:
        assert case.holds(one, plain), one
        if greedy:
            # But for the usage, which a stream tells only when asked.
            assert one.choices == told[0].choices
