"""What the OpenAI SDK makes of the engine's answers: parsed models, tools and back, log probabilities, many at once."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from openai.lib.streaming.chat import ContentDoneEvent, FunctionToolCallArgumentsDoneEvent
from pydantic import BaseModel

from tests.clients.strict import of_chat, of_chunks, strict
from tests.fakes import behaviours
from tests.fakes.background import BackgroundFake
from tests.live.server import PATIENCE, LiveServer, with_tiny_random
from tests.tiny_random import write_tiny_random

HELLO: Any = [{"role": "user", "content": "hello"}]
#: Random weights would never begin a call by themselves; the tools' grammar goes on from here.
BEGUN: Any = [*HELLO, {"role": "assistant", "content": "<tool_call>"}]


class Part(BaseModel):
    """One of several things."""

    kind: Literal["stone", "wood"]
    heavy: bool


class Room(BaseModel):
    city: Literal["Oslo", "Rome"]
    part: Part


class Weather(BaseModel):
    """The weather."""

    city: Literal["Oslo", "Rome"]
    days: Literal[1, 2]


class Essay(BaseModel):
    """Something that cannot be done in a few tokens."""

    text: str


def options(server: LiveServer) -> dict[str, Any]:
    return {
        "base_url": f"{server.url}/v1",
        "api_key": server.token,
        "organization": "",
        "project": "",
        "max_retries": 0,
        "timeout": PATIENCE,
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With a model that has two slots, beside the default."""
    folder = tmp_path_factory.mktemp("answers")
    live = LiveServer(folder, config=with_tiny_random(folder))
    (folder / "data" / "bodhi" / "aliases").mkdir()
    write_tiny_random(folder / "data" / "bodhi" / "models" / "tiny.gguf")
    (folder / "data" / "bodhi" / "aliases" / "two-slots.yaml").write_text(
        "alias: two-slots\npath: tiny.gguf\ncontext_params:\n  n_parallel: 2\n"
    )
    with live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(**options(server), http_client=openai.DefaultHttpxClient(trust_env=False)) as client:
        yield client


def in_a_loop(server: LiveServer, work: Any) -> Any:
    """What an asynchronous function makes with an asynchronous client."""

    async def main() -> Any:
        http_client = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(**options(server), http_client=http_client) as client:
            return await work(client)

    return asyncio.run(main())


# -- structured output -------------------------------------------------------------------------------------------------


def test_parse(client) -> None:
    answer = client.chat.completions.parse(model="default", messages=HELLO, response_format=Room, max_tokens=200)

    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Room)
    assert parsed == Room.model_validate_json(answer.choices[0].message.content or "")


def test_parse_asynchronously(server) -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        ask = client.chat.completions.parse
        return await asyncio.gather(
            *(ask(model="default", messages=HELLO, response_format=Room, max_tokens=200) for _ in range(3))
        )

    for answer in in_a_loop(server, work):
        assert isinstance(answer.choices[0].message.parsed, Room)


def test_parse_a_stream(client) -> None:
    with client.chat.completions.stream(
        model="default", messages=HELLO, response_format=Room, max_tokens=200, stream_options={"include_usage": True}
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()

    (done,) = [event for event in events if isinstance(event, ContentDoneEvent)]
    assert isinstance(done.parsed, Room)
    assert final.choices[0].message.parsed == done.parsed
    assert final.usage is not None
    of_chunks(event.chunk for event in events if event.type == "chunk")


def test_parse_what_was_cut_off(client) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="default", messages=HELLO, response_format=Essay, max_tokens=3)


def test_a_model_that_no_grammar_can_enforce_is_refused(client) -> None:
    class Twice(BaseModel):
        number: int

        model_config = {"json_schema_extra": {"not": {"required": ["x"]}}}

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.parse(model="default", messages=HELLO, response_format=Twice, max_tokens=3)
    assert caught.value.code == "unsupported_json_schema"
    assert caught.value.param == "response_format.json_schema.schema"


def test_parse_the_arguments_of_a_call(client) -> None:
    asked: dict[str, Any] = {
        "model": "default",
        "messages": BEGUN,
        "tools": [openai.pydantic_function_tool(Weather)],
        "tool_choice": {"type": "function", "function": {"name": "Weather"}},
        "max_tokens": 200,
    }
    answer = client.chat.completions.parse(**asked)

    (call,) = answer.choices[0].message.tool_calls or []
    assert answer.choices[0].finish_reason == "tool_calls"
    assert isinstance(call.function.parsed_arguments, Weather)
    with client.chat.completions.stream(**asked) as stream:
        (done,) = [event for event in stream if isinstance(event, FunctionToolCallArgumentsDoneEvent)]
    assert isinstance(done.parsed_arguments, Weather)


# -- tools and back ----------------------------------------------------------------------------------------------------

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
#: Strict, as the SDK wants those that it parses.
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": CITY, "strict": True}} for name in ("weather", "time")
]


def asked_for_a_call(name: str) -> dict[str, Any]:
    choice = {"type": "function", "function": {"name": name}}
    return {"model": "default", "messages": BEGUN, "tools": TOOLS, "tool_choice": choice, "max_tokens": 200}


def asked_with_the_result(message: Any, result: str) -> dict[str, Any]:
    (call,) = message.tool_calls
    messages = [*HELLO, message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    return {"model": "default", "messages": messages, "tools": TOOLS, "tool_choice": "none", "max_tokens": 4}


@pytest.mark.parametrize("name", ["weather", "time"])
def test_a_tool_is_called_and_its_result_is_read(client, name) -> None:
    first = client.chat.completions.create(**asked_for_a_call(name))
    assert [called for called, _ in of_chat(first).choices[0].calls] == [name]
    assert first.choices[0].finish_reason == "tool_calls"

    short = client.chat.completions.create(**asked_with_the_result(first.choices[0].message, "rain"))
    long = client.chat.completions.create(**asked_with_the_result(first.choices[0].message, "rain " * 50))

    assert short.choices[0].message.content
    assert of_chat(short).choices[0].calls == []
    # The result is in the prompt.
    assert short.usage.prompt_tokens + 40 < long.usage.prompt_tokens


def test_the_same_asynchronously_and_streamed(server) -> None:
    async def work(client: openai.AsyncOpenAI) -> list[Any]:
        async with client.chat.completions.stream(**asked_for_a_call("time")) as stream:
            first = (await stream.get_final_completion()).choices[0]
        stream = await client.chat.completions.create(
            **asked_with_the_result(first.message, "noon"), stream=True, stream_options={"include_usage": True}
        )
        return [first, of_chunks([chunk async for chunk in stream])]

    first, told = in_a_loop(server, work)

    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls[0].function.name == "time"
    assert told.text
    assert told.choices[0].calls == []


# -- log probabilities -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternatives", [None, 0, 1, 20])
def test_log_probabilities(client, alternatives) -> None:
    more = {} if alternatives is None else {"top_logprobs": alternatives}
    answer = client.chat.completions.create(
        model="default", messages=HELLO, max_tokens=5, temperature=0, logprobs=True, **more
    )

    tokens = strict(answer).choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens == 5
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == answer.choices[0].message.content
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == (alternatives or 0)
        found = [other.logprob for other in token.top_logprobs]
        assert found == sorted(found, reverse=True)
        # The likeliest was taken.
        assert not found or found[0] == pytest.approx(token.logprob)
        assert sum(map(math.exp, found)) <= 1.001


# -- several answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["two-slots", "default"])
def test_six_answers_on_fewer_slots(client, model) -> None:
    asked: dict[str, Any] = {"model": model, "messages": HELLO, "n": 6, "max_tokens": 5, "seed": 3}
    one = client.chat.completions.create(**{**asked, "n": 1})
    whole = of_chat(client.chat.completions.create(**asked))
    with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        streamed = of_chunks(stream)

    assert set(whole.choices) == set(range(6))
    assert len({choice.text for choice in whole.choices.values()}) > 1
    assert whole.usage == (one.usage.prompt_tokens, 30, one.usage.prompt_tokens + 30)
    assert streamed == whole


def test_six_answers_to_several_at_once(server) -> None:
    async def work(client: openai.AsyncOpenAI) -> Any:
        ask = client.chat.completions.create
        return await asyncio.gather(*(ask(model="two-slots", messages=HELLO, n=6, max_tokens=3) for _ in range(3)))

    for answer in in_a_loop(server, work):
        assert set(of_chat(answer).choices) == set(range(6))


def test_all_chunks_are_of_one_moment(fake_server, backend: BackgroundFake) -> None:
    """As OpenAI's specification has it; llama.cpp looks at its clock for each of them (measured)."""
    events = [
        behaviours.chat_chunk({"role": "assistant", "content": None}, created=1795381946),
        behaviours.chat_chunk({"content": '"created":5'}, created=1795381947),
        behaviours.chat_chunk({}, "stop", created=1795381948),
        behaviours.DONE,
    ]
    backend.behave(behaviours.stream(events))
    with (
        openai.OpenAI(**options(fake_server), http_client=openai.DefaultHttpxClient(trust_env=False)) as client,
        client.chat.completions.create(model="default", messages=HELLO, stream=True) as stream,
    ):
        chunks = list(stream)

    assert {chunk.created for chunk in chunks} == {1795381946}
    assert chunks[1].choices[0].delta.content == '"created":5'


# -- the other endpoints -----------------------------------------------------------------------------------------------


def test_embeddings(client) -> None:
    asked: dict[str, Any] = {"model": "default", "input": ["the sea", "a hill"], "user": "ann"}
    numbers = strict(client.embeddings.create(**asked, encoding_format="float"))
    plain = strict(client.embeddings.create(**asked))
    raw = client.embeddings.with_raw_response.create(**asked, encoding_format="base64").http_response.json()
    short = strict(client.embeddings.create(**asked, dimensions=8))

    assert [one.index for one in numbers.data] == [0, 1]
    assert numbers.usage.prompt_tokens == numbers.usage.total_tokens > 4
    packed = base64.b64decode(raw["data"][1]["embedding"])
    assert numbers.data[1].embedding == plain.data[1].embedding == list(struct.unpack("<64f", packed))
    assert numbers.data[0].embedding != numbers.data[1].embedding
    for one in (*numbers.data, *short.data):
        assert math.hypot(*one.embedding) == pytest.approx(1, abs=1e-5)
    assert [len(one.embedding) for one in short.data] == [8, 8]


def test_embeddings_asynchronously(server) -> None:
    answer = in_a_loop(server, lambda client: client.embeddings.create(model="default", input=[[300, 301], [302]]))
    assert [len(one.embedding) for one in strict(answer).data] == [64, 64]


def test_models(client, server) -> None:
    listed = list(client.models.list())
    assert {model.id for model in listed} == {"tiny-random", "two-slots", "tiny", "guide", "guide-embed"}
    for model in listed:
        # Beside OpenAI's four fields there may be ours.
        assert {"id", "object", "created", "owned_by"} <= model.model_fields_set
        type(model).model_validate_json(model.to_json(), strict=True)
        assert client.models.retrieve(model.id).id == model.id

    async def work(client: openai.AsyncOpenAI) -> list[str]:
        return [model.id async for model in client.models.list()]

    assert set(in_a_loop(server, work)) == {model.id for model in listed}


def test_a_completion_of_several_prompts(client) -> None:
    answer = strict(
        client.completions.create(
            model="default",
            prompt=["a", "b"],
            n=2,
            max_tokens=3,
            logprobs=2,
            echo=False,
            extra_body={"ignore_eos": True},  # or now and then the model ends after two
        )
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    for choice in answer.choices:
        told = choice.logprobs
        assert "".join(told.tokens) == choice.text
        assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == len(told.top_logprobs) == 3
        assert json.dumps(told.to_dict())
