"""The bodies made of Ollama's requests, before the real engine: it takes every option, and obeys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bodhi_jupyter.wire.ollama import OllamaChatRequest, OllamaGenerateRequest, parse_ollama
from bodhi_jupyter.wire.ollama_bodies import chat_body, completion_body, generate_chat_body
from bodhi_jupyter.wire.ollama_options import ollama_defaults
from tests.wire.native import running_engine

HELLO = {"role": "user", "content": "hello"}
FAR = 2**40


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[httpx.Client]:
    with running_engine(tmp_path_factory.mktemp("engine")) as client:
        yield client


def chunks(engine: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = engine.post(path, json={**ollama_defaults(context_length=512), **body})
    assert answer.status_code == 200, answer.text
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


def chat(**more: Any) -> dict[str, Any]:
    raw = json.dumps({"model": "m", "messages": [HELLO], **more}).encode()
    return chat_body(parse_ollama(OllamaChatRequest, raw), context_length=512)


def generate(**more: Any) -> OllamaGenerateRequest:
    return parse_ollama(OllamaGenerateRequest, json.dumps({"model": "m", "prompt": "hello", **more}).encode())


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -3, "top_k": -FAR, "top_p": -1, "min_p": -1, "typical_p": -1, "repeat_last_n": -1},
        {"temperature": 1e30, "top_k": FAR, "top_p": 9, "min_p": 9, "typical_p": 9, "repeat_last_n": FAR},
        {"repeat_penalty": 9.5, "presence_penalty": -9, "frequency_penalty": 9, "seed": FAR, "num_keep": FAR},
        {"repeat_penalty": 0.1, "presence_penalty": 9, "frequency_penalty": -9, "seed": -FAR, "num_keep": -FAR},
        {"mirostat": 2, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "stop": [""], "seed": -1},
        {"mirostat": FAR, "mirostat_tau": -1.0, "mirostat_eta": -1, "stop": list("abcdefgh")},
    ],
)
def test_the_engine_takes_every_option(engine, options) -> None:
    found = chunks(engine, "/v1/chat/completions", chat(options={**options, "num_predict": 2}))
    assert found[-1]["usage"]["completion_tokens"] <= 2
    body = completion_body(generate(options={**options, "num_predict": 2}), "hello", context_length=512)
    assert chunks(engine, "/v1/completions", body)[-1]["usage"]["completion_tokens"] <= 2


def test_no_limit_is_taken(engine) -> None:
    found = chunks(engine, "/v1/chat/completions", chat(options={"num_predict": -2, "stop": [" "]}))
    assert found[-1]["usage"]["completion_tokens"] >= 1


@pytest.mark.parametrize(
    "schema",
    ["json", {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": False}],
)
def test_a_format_is_obeyed(engine, schema) -> None:
    options = {"num_predict": 32, "seed": 1}
    # A model that thinks does so freely; the format holds for what comes after.
    through_template = generate_chat_body(generate(format=schema, think=False, options=options), context_length=512)
    as_it_is = completion_body(generate(format=schema, options=options, raw=True), "hello", context_length=512)
    chat_text = "".join(
        part["delta"].get("content") or ""
        for chunk in chunks(engine, "/v1/chat/completions", through_template)
        for part in chunk["choices"]
    )
    raw_text = "".join(
        part["text"] for chunk in chunks(engine, "/v1/completions", as_it_is) for part in chunk["choices"]
    )
    for text in (chat_text, raw_text):
        assert text.lstrip().startswith("{"), (chat_text, raw_text)
        if schema != "json":
            assert json.loads(text)["a"] == 1


def test_logprobs_without_alternatives_need_one_alternative(engine) -> None:
    body = chat(logprobs=True, options={"num_predict": 1})

    def logprobs(body: dict[str, Any]) -> list[Any]:
        found = chunks(engine, "/v1/chat/completions", body)
        return [
            one
            for chunk in found
            for part in chunk["choices"]
            for one in (part.get("logprobs") or {"content": []})["content"]
        ]

    assert logprobs({**body, "top_logprobs": 0}) == []
    (token,) = logprobs(body)
    assert len(token["top_logprobs"]) == 1


def test_a_seed_past_32_bits_still_decides(engine) -> None:
    body = chat(options={"seed": 2**40 + 1, "temperature": 1.5, "num_predict": 12})
    texts = {
        "".join(
            part["delta"].get("content") or ""
            for chunk in chunks(engine, "/v1/chat/completions", {**body, "cache_prompt": False})
            for part in chunk["choices"]
        )
        for _ in range(2)
    }
    assert len(texts) == 1


def test_a_history_of_calls_is_taken(engine) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    messages = [
        HELLO,
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call, call]},
        {"role": "tool", "tool_name": "weather", "content": "rain"},
        {"role": "tool", "tool_name": "weather", "content": "sun"},
    ]
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    body = chat(messages=messages, tools=[tool], think="low", options={"num_predict": 2})
    assert chunks(engine, "/v1/chat/completions", body)[-1]["usage"]["completion_tokens"] <= 2
