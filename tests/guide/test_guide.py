"""The guide as any client sees it: the shipped file behind the gateway, asked by the OpenAI SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.live.server import PATIENCE, LiveServer
from tools.guide import data

ANSWERS = {topic.name: topic for topic in data.topics()}
INSTALL = "How do I install bodhi?"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Looks outside.", "parameters": CITY}},
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": NUMBERS}},
]


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key=server.token,
        max_retries=0,
        timeout=PATIENCE,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    ) as client:
        yield client


def ask(client: openai.OpenAI, *turns: str, system: str = "", **more: Any) -> Any:
    messages: list[Any] = [
        {"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)
    ]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return client.chat.completions.create(model="default", messages=messages, **more)


def text(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def test_it_is_the_default_and_the_first_in_the_lists(client: openai.OpenAI) -> None:
    (first, *_) = client.models.list()

    assert first.id == "guide"
    assert ask(client, "Hello", max_tokens=1).model == "guide"


def test_it_answers_as_written_at_the_default_temperature(client: openai.OpenAI) -> None:
    for seed in range(5):
        answer = ask(client, INSTALL, seed=seed)
        assert text(answer) == ANSWERS["install"].answer
        assert answer.choices[0].finish_reason == "stop"


def test_capitals_do_not_matter(client: openai.OpenAI) -> None:
    assert text(ask(client, INSTALL.upper())) == ANSWERS["install"].answer


def test_a_system_prompt_does_not_confuse_it(client: openai.OpenAI) -> None:
    assert text(ask(client, INSTALL, system="You are a helpful assistant.")) == ANSWERS["install"].answer


def test_a_follow_up_uses_the_turn_before(client: openai.OpenAI) -> None:
    for name in ("ollama_client", "anthropic_client"):
        topic = ANSWERS[name]
        answer = ask(client, f"How do I use the {name.partition('_')[0]} client?", topic.answer, "And for streaming?")
        assert text(answer) == topic.follow["stream"]


def test_it_says_that_it_does_not_know(client: openai.OpenAI) -> None:
    assert text(ask(client, "Write me a poem about cats")) == data.off_topic().answer


def test_it_streams(client: openai.OpenAI) -> None:
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(client, INSTALL, stream=True)]

    assert len(pieces) > 20
    assert "".join(pieces) == ANSWERS["install"].answer


def test_it_stops_where_it_is_told(client: openai.OpenAI) -> None:
    assert text(ask(client, INSTALL, stop=["pip"])) == ANSWERS["install"].answer.partition("pip")[0]


def test_an_answer_can_be_cut(client: openai.OpenAI) -> None:
    answer = ask(client, INSTALL, max_tokens=3)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_a_chat_that_is_too_long_is_refused_with_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "How do I install bodhi? " * 200)

    assert caught.value.code == "context_length_exceeded"
    assert "maximum context length is 1024 tokens" in caught.value.message


@pytest.mark.parametrize("before", [("panel",), ("panel", "license", "offline"), ("license", "usage", "thanks")])
def test_a_chat_of_many_turns_fits(client: openai.OpenAI, before: tuple[str, ...]) -> None:
    """How often it is right there, `test_evaluation` says."""
    turns = [turn for name in before for turn in (name, ANSWERS[name].answer)]

    assert text(ask(client, *turns, INSTALL)) == ANSWERS["install"].answer


def test_a_schema_holds(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"river": {"enum": ["Nile", "Rhine"]}, "sure": {"type": "boolean"}},
        "required": ["river", "sure"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "river", "strict": True, "schema": schema}}
    parsed = json.loads(text(ask(client, "Which river is longer?", response_format=form, max_tokens=100)))

    assert parsed["river"] in {"Nile", "Rhine"}
    assert isinstance(parsed["sure"], bool)


def test_it_calls_a_tool_and_uses_what_it_said(client: openai.OpenAI) -> None:
    asked: Any = {"role": "user", "content": "What is 12 plus 30?"}
    first = client.chat.completions.create(model="default", messages=[asked], tools=TOOLS)
    (call,) = first.choices[0].message.tool_calls or []

    assert first.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "add"
    assert json.loads(call.function.arguments) == {"a": 12, "b": 30}

    said: Any = {"role": "tool", "tool_call_id": call.id, "content": "42"}
    messages: Any = [asked, first.choices[0].message.to_dict(), said]
    assert text(client.chat.completions.create(model="default", messages=messages, tools=TOOLS)) == "The result is 42."


def test_a_name_is_copied_into_a_call_and_into_the_answer(client: openai.OpenAI) -> None:
    asked: Any = {"role": "user", "content": "What is the weather in Paris?"}
    first = client.chat.completions.create(model="default", messages=[asked], tools=TOOLS)
    (call,) = first.choices[0].message.tool_calls or []

    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}

    said: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}'}
    messages: Any = [asked, first.choices[0].message.to_dict(), said]
    answer = text(client.chat.completions.create(model="default", messages=messages, tools=TOOLS))
    assert answer == "It is 21 degrees and sunny in Paris."


def test_tools_that_do_not_fit_are_left_alone(client: openai.OpenAI) -> None:
    answer = ask(client, INSTALL, tools=TOOLS)

    assert not answer.choices[0].message.tool_calls
    assert text(answer) == ANSWERS["install"].answer
