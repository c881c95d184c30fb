"""Ollama's Python client as it comes against live servers: models, chats, texts and vectors from the real engine."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import ollama
import pytest

from tests.live.kernel import Kernel
from tests.live.server import LiveServer, eventually

HELLO = [{"role": "user", "content": "hello"}]
#: Always the likeliest token, so that all ways of asking get the same answer.
CHAT: dict[str, Any] = {"model": "tiny-random", "messages": HELLO, "options": {"num_predict": 8, "temperature": 0}}
TEXT: dict[str, Any] = {"model": "tiny-random", "prompt": "once upon", "options": {"num_predict": 8, "temperature": 0}}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
    "required": ["city"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": CITY}}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def credentials(server: LiveServer) -> dict[str, Any]:
    """The arguments of a client."""
    return {"host": server.url, "headers": {"Authorization": f"Bearer {server.token}"}}


@pytest.fixture
def client(stocked_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(**credentials(stocked_server)) as client:
        yield client


def is_counted(last: ollama.ChatResponse | ollama.GenerateResponse) -> None:
    """The end of an answer of at most eight tokens."""
    assert last.done is True
    assert last.done_reason in {"stop", "length"}
    assert last.prompt_eval_count > 1
    assert 1 <= last.eval_count <= 8
    durations = (last.load_duration, last.prompt_eval_duration, last.eval_duration)
    assert all(isinstance(duration, int) and duration > 0 for duration in durations)
    assert last.total_duration >= max(durations)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(last.created_at)) < timedelta(hours=1)


# -- models --------------------------------------------------------------------------------------------------


def test_list(client):
    models = {model.model.removesuffix(":latest"): model for model in client.list().models}

    assert {"tiny-random", "found", "caller"} <= set(models)
    found = models["found"]
    assert 100_000 < found.size < 1_000_000
    assert len(found.digest.removeprefix("sha256:")) == 64
    assert found.modified_at.tzinfo is not None
    assert (found.details.format, found.details.family) == ("gguf", "llama")
    assert found.details.families == ["llama"]
    assert found.details.parameter_size.endswith(("K", "M"))
    assert found.details.quantization_level


def test_show(client):
    shown = client.show("tiny-random")

    assert "completion" in shown.capabilities
    assert "tools" in shown.capabilities
    assert not {"vision", "thinking", "insert"} & set(shown.capabilities)
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] >= 2048
    assert shown.modelinfo["llama.embedding_length"] == 64
    assert "messages" in shown.template
    assert shown.details.family == "llama"


def test_show_of_what_is_not_there(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("nobody-has-this")

    assert (caught.value.status_code, caught.value.error) == (404, "model 'nobody-has-this' not found")


def test_ps_tells_of_what_is_loaded(client):
    client.chat(**CHAT, keep_alive="30m")

    running = {model.model.removesuffix(":latest"): model for model in client.ps().models}["tiny-random"]

    left = running.expires_at - datetime.now(UTC)
    assert timedelta(minutes=20) < left <= timedelta(minutes=30)
    assert running.size > 100_000
    assert running.size_vram >= 0
    assert running.context_length >= 2048
    assert running.details.family == "llama"


# -- chats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-random", "default", "Tiny-Random:latest"])
def test_chat(client, name):
    answer = client.chat(**{**CHAT, "model": name})

    assert answer.model == name
    assert answer.message.role == "assistant"
    assert answer.message.content.strip()
    assert answer.message.thinking is None
    assert answer.message.tool_calls is None
    is_counted(answer)


def test_stream(client):
    *parts, last = client.chat(**CHAT, stream=True)

    assert len(parts) > 1
    assert not any(part.done for part in parts)
    assert {part.model for part in [*parts, last]} == {"tiny-random"}
    is_counted(last)


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = client.chat(**CHAT)
    parts = list(client.chat(**CHAT, stream=True))

    assert "".join(part.message.content for part in parts) == whole.message.content
    assert parts[-1].eval_count == whole.eval_count
    # What is in the cache by now counts all the same.
    assert parts[-1].prompt_eval_count == whole.prompt_eval_count


def test_async(stocked_server, client):
    async def main() -> tuple[str, list[str], list[ollama.ChatResponse]]:
        async with ollama.AsyncClient(**credentials(stocked_server)) as client:
            names = [model.model for model in (await client.list()).models]
            whole = await client.chat(**CHAT)
            parts = [part async for part in await client.chat(**CHAT, stream=True)]
            return whole.message.content, names, parts

    text, names, parts = asyncio.run(main())

    assert text == client.chat(**CHAT).message.content
    assert "".join(part.message.content for part in parts) == text
    assert names == [model.model for model in client.list().models]
    is_counted(parts[-1])


def test_several_at_once(stocked_server):
    async def main() -> list[ollama.ChatResponse]:
        async with ollama.AsyncClient(**credentials(stocked_server)) as client:
            return await asyncio.gather(*(client.chat(**CHAT) for _ in range(6)))

    assert all(answer.done for answer in asyncio.run(main()))


def test_the_number_of_tokens_is_kept(client):
    answer = client.chat(**{**CHAT, "options": {"num_predict": 3, "temperature": 0}})

    assert (answer.eval_count, answer.done_reason) == (3, "length")


def test_a_seed_repeats(client):
    asked = {**CHAT, "options": ollama.Options(num_predict=16, seed=11, temperature=1.5)}
    other = {**CHAT, "options": ollama.Options(num_predict=16, seed=12, temperature=1.5)}

    assert client.chat(**asked).message.content == client.chat(**asked).message.content
    assert client.chat(**asked).message.content != client.chat(**other).message.content


def test_a_stop_word_ends_the_answer(client):
    words = client.chat(**CHAT).message.content.split()
    stopped = client.chat(**{**CHAT, "options": {**CHAT["options"], "stop": [words[2]]}})

    assert stopped.done_reason == "stop"
    assert stopped.message.content.split() == words[:2]


def test_a_schema_is_enforced(client):
    word = secrets.token_hex(6)
    schema = {"type": "object", "properties": {"word": {"const": word}}, "required": ["word"]}
    asked = {**CHAT, "options": {"num_predict": 100}, "format": schema}

    assert json.loads(client.chat(**asked).message.content)["word"] == word
    assert json.loads("".join(part.message.content for part in client.chat(**asked, stream=True)))["word"] == word


def test_json(client):
    assert client.chat(**CHAT, format="json").message.content.lstrip().startswith("{")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_taken(client, stream):
    answer = client.chat(model="caller", messages=HELLO, tools=[WEATHER], stream=stream)
    parts = list(answer) if stream else [answer]

    calls = [(part.done, call) for part in parts for call in part.message.tool_calls or []]
    assert {done for done, _ in calls} == {True}, "calls come with the last part"
    call = calls[0][1].function
    assert call.name == "weather"
    assert call.arguments["city"] in {"Oslo", "Rome"}
    result = {"role": "tool", "tool_name": call.name, "content": f"rain in {call.arguments['city']}"}
    after = client.chat(**{**CHAT, "messages": [*HELLO, parts[-1].message, result]}, tools=[WEATHER])
    assert after.prompt_eval_count > client.chat(**CHAT, tools=[WEATHER]).prompt_eval_count


def test_a_python_function_is_a_tool(client):
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: The first.
            b: The second.
        """
        return a + b

    answer = client.chat(model="caller", messages=HELLO, tools=[add])

    call = answer.message.tool_calls[0].function
    assert call.name == "add"
    assert isinstance(add(**call.arguments), int)


def test_an_image_is_refused_by_a_model_of_text(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(**{**CHAT, "messages": [{"role": "user", "content": "what is it?", "images": [PIXEL]}]})

    assert caught.value.status_code == 400
    assert caught.value.error == "tiny-random:latest does not support vision"


def test_thinking_is_refused_by_a_model_that_cannot(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(**CHAT, think=True)

    assert (caught.value.status_code, caught.value.error) == (400, '"tiny-random" does not support thinking')
    assert client.chat(**CHAT, think=False).message.content


def test_logprobs(client):
    chosen = client.chat(**CHAT, logprobs=True)
    both = client.chat(**CHAT, logprobs=True, top_logprobs=2)

    assert "".join(one.token for one in chosen.logprobs) == chosen.message.content
    assert all(one.logprob <= 0 and not one.top_logprobs for one in chosen.logprobs)
    assert {len(one.top_logprobs) for one in both.logprobs} == {2}


def test_load_and_unload(client):
    def running() -> set[str]:
        return {model.model.removesuffix(":latest") for model in client.ps().models}

    loaded = client.chat(model="found")
    assert (loaded.done, loaded.done_reason, loaded.message.content) == (True, "load", "")
    assert "found" in running()

    unloaded = client.chat(model="found", keep_alive=0)
    assert (unloaded.done, unloaded.done_reason) == (True, "unload")
    eventually(lambda: "found" not in running(), "the model to be unloaded", 30)


# -- texts ---------------------------------------------------------------------------------------------------


def test_generate(client):
    answer = client.generate(**TEXT)

    assert answer.response.strip()
    assert all(isinstance(token, int) for token in answer.context)
    is_counted(answer)


def test_generate_streamed(client):
    *parts, last = client.generate(**TEXT, stream=True)

    assert "".join(part.response for part in [*parts, last]) == client.generate(**TEXT).response
    assert len(parts) > 1
    assert last.context
    is_counted(last)


def test_generate_goes_on_from_a_context(client):
    first = client.generate(**TEXT)
    second = client.generate(**TEXT, context=first.context)

    assert second.prompt_eval_count > first.prompt_eval_count
    assert len(second.context) > len(first.context)


def test_generate_raw(client):
    raw, templated = client.generate(**TEXT, raw=True), client.generate(**TEXT)

    assert raw.response.strip()
    assert raw.context is None
    assert raw.prompt_eval_count < templated.prompt_eval_count


def test_generate_with_a_system_prompt_and_a_schema(client):
    asked = {**TEXT, "options": {"num_predict": 60}, "system": "Be brief.", "format": CITY}
    answer = client.generate(**asked)

    assert json.loads(answer.response)["city"] in {"Oslo", "Rome"}
    assert answer.prompt_eval_count > client.generate(**TEXT).prompt_eval_count


def test_generate_loads(client):
    loaded = client.generate(model="tiny-random")

    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")


def test_a_model_without_the_tokens_for_it_does_not_insert(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(**TEXT, suffix="the end")

    assert caught.value.status_code == 400
    assert "does not support insert" in caught.value.error


# -- vectors -------------------------------------------------------------------------------------------------


def test_embed(client):
    one = client.embed("tiny-random", "the sea")
    two = client.embed("tiny-random", ["the sea", "a hill"])
    short = client.embed("tiny-random", "the sea", dimensions=8)

    assert [len(vector) for vector in two.embeddings] == [64, 64]
    assert two.embeddings[0] == pytest.approx(one.embeddings[0], abs=1e-4)
    assert two.prompt_eval_count > one.prompt_eval_count > 0
    assert two.total_duration > 0
    assert len(short.embeddings[0]) == 8
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-4) for vector in (*two.embeddings, *short.embeddings))


def test_embeddings(client):
    assert len(client.embeddings("tiny-random", "the sea").embedding) == 64


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_there(client, stream):
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.chat("nobody-has-this", messages=HELLO, stream=stream))

    assert (caught.value.status_code, caught.value.error) == (404, "model 'nobody-has-this' not found")


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32'),
        ({"options": {"num_predict": "many"}}, 500, 'option "num_predict" must be of type integer'),
        ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ],
)
def test_bad_request(client, more, status, text):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat(**{**CHAT, **more})

    assert (caught.value.status_code, caught.value.error) == (status, text)


def test_a_wrong_key(stocked_server):
    with (
        ollama.Client(host=stocked_server.url, headers={"Authorization": "Bearer wrong"}) as client,
        pytest.raises(ollama.ResponseError) as caught,
    ):
        client.list()

    assert caught.value.status_code == 401
    assert isinstance(caught.value.error, str)


# -- in a notebook -------------------------------------------------------------------------------------------


def test_a_notebook_needs_no_arguments(engine_server):
    with Kernel(engine_server) as kernel:
        kernel.run("import ollama")
        chat = "ollama.chat(model='tiny-random', messages=[{'role': 'user', 'content': 'hello'}]"

        assert kernel.value(f"{chat})['message']['content']").strip()
        assert kernel.value(f"[part.message.content for part in {chat}, stream=True)]")
        assert kernel.value("[model.model for model in ollama.list().models]")
