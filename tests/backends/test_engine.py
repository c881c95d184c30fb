"""The embedded engine as it really is: what it answers, who it lets in, and when it ends."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from bodhi_jupyter.backends.launch import EngineSpec, Settings, child_environment
from bodhi_jupyter.catalog.context import ContextParams
from tests.tiny_random import write_tiny_random

CHAT = "/v1/chat/completions"


def question(text: str = "Who are you?", **parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **parameters}


def child(model: Path) -> subprocess.Popen[bytes]:
    """The engine without a supervisor, its configuration sent."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bodhi_jupyter.backends.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
    )
    configuration = {
        "alias": "tiny",
        "model_path": str(model),
        "api_key": "secret",
        "settings": asdict(Settings.of(ContextParams())),
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(configuration).encode() + b"\n")
    process.stdin.flush()
    return process


def test_it_answers_under_its_alias_in_readable_words(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("my-alias", tiny_model)) as (_, client):
            request = question(model="something else", temperature=0, max_tokens=40)
            answer = (await client.post(CHAT, json=request)).raise_for_status().json()
            assert answer["model"] == "my-alias"
            text = answer["choices"][0]["message"]["content"]
            assert text.isascii()
            assert len(text.split()) > 20
            again = (await client.post(CHAT, json=request)).json()
            assert again["choices"][0]["message"]["content"] == text
            assert (await client.get("/v1/models")).json()["data"][0]["id"] == "my-alias"

    asyncio.run(main())


def test_no_answer_is_empty(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (_, client):
            # A bias that makes the end the likeliest of all tokens wherever the model admits it.
            bodies = [question(seed=seed, max_tokens=9, logit_bias={"2": 10}) for seed in range(20)]
            for body in bodies:
                choice = (await client.post(CHAT, json=body)).raise_for_status().json()["choices"][0]
                assert choice["message"]["content"].strip()
                assert choice["finish_reason"] == "stop"

    asyncio.run(main())


def test_seeds_differ_and_roles_and_length_count(engine, tiny_model: Path, tmp_path: Path) -> None:
    other_model = tmp_path / "other.gguf"
    write_tiny_random(other_model, seed=1)

    async def answer(client: httpx.AsyncClient, role: str, text: str) -> dict[str, Any]:
        body = {"messages": [{"role": role, "content": text}], "temperature": 0, "max_tokens": 20}
        return (await client.post(CHAT, json=body)).raise_for_status().json()

    async def main() -> None:
        async with engine(EngineSpec("a", tiny_model)) as (_, a), engine(EngineSpec("b", other_model)) as (_, b):
            short, other = await answer(a, "user", "Hello"), await answer(b, "user", "Hello")
            system, long = await answer(a, "system", "Hello"), await answer(a, "user", "Hello there " * 20)
            assert short["choices"] != other["choices"]
            assert short["choices"] != system["choices"]
            assert long["usage"]["prompt_tokens"] > short["usage"]["prompt_tokens"] + 20

    asyncio.run(main())


def test_a_stream_ends_with_usage_after_the_finish_reason(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (_, client):
            body = question(stream=True, stream_options={"include_usage": True}, max_tokens=5)
            events = [line[6:] for line in (await client.post(CHAT, json=body)).text.splitlines() if line]
            assert events[-1] == "[DONE]"
            finish, usage = json.loads(events[-3]), json.loads(events[-2])
            assert finish["choices"][0]["finish_reason"] in {"length", "stop"}
            assert "usage" not in finish
            assert usage["choices"] == []
            assert usage["usage"]["prompt_tokens"] > 0

    asyncio.run(main())


def test_a_schema_forces_a_value(engine, tiny_model: Path) -> None:
    number = random.randrange(10**6)
    schema = {
        "type": "object",
        "properties": {"number": {"const": number}, "text": {"type": "string", "maxLength": 60}},
        "required": ["number", "text"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (_, client):
            answer = (await client.post(CHAT, json=question(response_format=response_format))).json()
            assert json.loads(answer["choices"][0]["message"]["content"])["number"] == number

    asyncio.run(main())


def test_tools_can_be_called(engine, tiny_model: Path) -> None:
    parameters = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]

    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (_, client):
            # Any text may stand before a call, and random weights would go on for ever: token 259 begins one.
            body = question(tools=tools, tool_choice="required", logit_bias={"259": 100}, max_tokens=500)
            message = (await client.post(CHAT, json=body)).raise_for_status().json()["choices"][0]["message"]
            call = message["tool_calls"][0]["function"]
            assert call["name"] == "weather"
            assert json.loads(call["arguments"])["city"] in {"Oslo", "Rome"}

    asyncio.run(main())


def test_embeddings_are_on_by_default_beside_chat(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (_, client):
            answer = (await client.post("/v1/embeddings", json={"input": ["the sea", "a tall tree"]})).json()
            first, second = (entry["embedding"] for entry in answer["data"])
            assert len(first) > 1
            assert first != second
            too_long = await client.post("/v1/embeddings", json={"input": "the sea " * 500})
            assert too_long.status_code == 500  # the price of the default: see ContextParams.embeddings

    asyncio.run(main())


def test_embeddings_asked_for_take_long_inputs(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model, ContextParams(embeddings=True))) as (_, client):
            answer = await client.post("/v1/embeddings", json={"input": "the sea " * 500})
            assert answer.status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    ("context", "per_slot", "slots"),
    [
        (ContextParams(), 4096, 1),
        (ContextParams(n_ctx=2048), 2048, 1),
        (ContextParams(n_parallel=2), 2048, 2),
        (ContextParams(n_ctx=0, n_parallel=1), 8192, 1),
    ],
)
def test_the_context_that_one_request_has(
    engine, tiny_model: Path, context: ContextParams, per_slot: int, slots: int
) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model, context)) as (_, client):
            properties = (await client.get("/props")).json()
            assert properties["default_generation_settings"]["n_ctx"] == per_slot
            assert properties["total_slots"] == slots
            assert properties["model_alias"] == "tiny"
            fits = await client.post(CHAT, json=question("sea " * (per_slot * 3 // 4), max_tokens=1))
            assert fits.status_code == 200
            assert fits.json()["usage"]["prompt_tokens"] > per_slot // 2
            too_long = await client.post(CHAT, json=question("sea " * per_slot * 2, max_tokens=1))
            assert too_long.status_code == 400
            assert too_long.json()["error"]["n_ctx"] == per_slot

    asyncio.run(main())


def test_every_field_reaches_the_engine(engine, tiny_model: Path) -> None:
    context = ContextParams(
        n_ctx=1024,
        n_gpu_layers=0,
        n_threads=1,
        embeddings=False,
        chat_template="{{ messages[0].content }} says the template",
        flash_attention=False,
        cache_type_k="f32",
        cache_type_v="f32",
    )

    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model, context)) as (_, client):
            applied = (await client.post("/apply-template", json=question("so"))).json()
            assert applied["prompt"] == "so says the template"
            assert (await client.post("/v1/embeddings", json={"input": "sea"})).status_code == 501
        async with engine(EngineSpec("tiny", tiny_model, ContextParams(reranking=True))) as (_, client):
            ranked = await client.post("/v1/rerank", json={"query": "sea", "documents": ["wave", "tree"]})
            assert len(ranked.raise_for_status().json()["results"]) == 2

    asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_only_a_stream_can_be_stopped_by_leaving(engine, tiny_model: Path, stream: bool) -> None:
    """Why whole answers are asked for as streams, and put together here (`wire.assemble`).

    For as long as somebody else streams, the engine does not look whether anybody waits for a whole answer.
    """
    streamed, left = 2000, 1500
    begun = asyncio.Event()

    async def ask(client: httpx.AsyncClient, tokens: int, *, stream: bool) -> None:
        asked = question(ignore_eos=True, stream=stream, max_tokens=tokens)
        async with client.stream("POST", CHAT, json=asked) as answer:
            async for _ in answer.aiter_lines():
                begun.set()

    async def predicted(client: httpx.AsyncClient) -> int:
        lines = (await client.get("/metrics")).text.splitlines()
        return int(next(line for line in lines if line.startswith("llamacpp:tokens_predicted_total")).split()[1])

    async def both_are_answered(client: httpx.AsyncClient, other: asyncio.Task[None]) -> bool:
        while not other.done():
            if sum(slot["is_processing"] for slot in (await client.get("/slots")).json()) == 2:
                return True
        return False

    async def attempt() -> bool:
        """Whether the two were seen at once: on a busy machine the first may be over by then."""
        spec = EngineSpec("tiny", tiny_model, ContextParams(n_parallel=2))
        begun.clear()
        async with asyncio.timeout(60), engine(spec) as (_, client):
            other = asyncio.create_task(ask(client, streamed, stream=True))
            await begun.wait()
            leaving = asyncio.create_task(ask(client, left, stream=stream))
            seen = await both_are_answered(client, other)
            leaving.cancel()
            await asyncio.wait([leaving])
            await other
            if not seen:
                return False
            assert leaving.cancelled()
            if stream:
                assert streamed < await predicted(client) < streamed + left
            else:
                assert await predicted(client) == streamed + left
            return True

    async def main() -> None:
        assert await attempt() or await attempt() or await attempt()

    asyncio.run(main())


def test_nobody_else_is_let_in(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with (
            engine(EngineSpec("tiny", tiny_model)) as (process, client),
            httpx.AsyncClient(base_url=process.address.url, trust_env=False) as stranger,
        ):
            for path in ("/v1/models", "/props", "/slots", "/metrics"):
                assert (await stranger.get(path)).status_code == 401, path
                assert (await client.get(path)).status_code == 200, path
            assert (await stranger.post(CHAT, json=question())).status_code == 401
            wrong = {"Authorization": "Bearer wrong"}
            assert (await stranger.post(CHAT, json=question(), headers=wrong)).status_code == 401
            assert (await stranger.get("/")).status_code == 404  # no web UI

    asyncio.run(main())


def test_no_browser_is_allowed_to_read_an_answer(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (_, client):
            origin = {"Origin": "https://elsewhere.example"}
            preflight = await client.options(CHAT, headers={**origin, "Access-Control-Request-Method": "POST"})
            answer = await client.get("/v1/models", headers=origin)
            for response in (preflight, answer):
                # An empty value allows no origin; llama.cpp sends the header in any case.
                assert response.headers.get("access-control-allow-origin", "") == ""
                assert response.headers.get("access-control-allow-credentials", "false") == "false"

    asyncio.run(main())


def test_it_ends_when_its_input_closes(tiny_model: Path) -> None:
    with child(tiny_model) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["port"] > 0
        process.stdin.close()
        assert process.wait(30) == 0


def test_it_ends_while_it_loads(slow_model: Path) -> None:
    with child(slow_model) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_from_the_keyboard_is_not_for_it(tiny_model: Path) -> None:
    with child(tiny_model) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        process.send_signal(signal.SIGINT)
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
        process.stdin.close()
        assert process.wait(30) == 0
