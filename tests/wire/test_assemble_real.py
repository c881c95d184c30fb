"""The assembled stream against the engine's own answer, from the engine that we ship."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bodhi_jupyter.wire.assemble import ChatAssembler
from bodhi_jupyter.wire.sse import EventSplitter, is_done, iter_events
from tests.tiny_random import write_tiny_random

ENGINE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.chat_template = sys.argv[1:]
params.port, params.n_ctx, params.n_parallel, params.cache_ram_mib = 0, 4096, 2, 0
params.cpuparams.n_threads = 1
params.warmup = params.ui = False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
# A template with tags for thoughts and calls: from it the engine derives how to read them in an answer.
TEMPLATE = """\
{%- if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>
{% endif %}
{%- for message in messages -%}
<{{ message.role }}>
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}</s>
{% endfor %}
{%- if add_generation_prompt %}<assistant>
{% if enable_thinking %}<think>
{% endif %}{% endif %}"""


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER = tool("weather", city={"type": "string", "enum": ["Oslo", "Rome"]}, unit={"enum": ["C", "F"]})
TIME = tool("time", zone={"enum": ["CET"]})
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
# Random weights would never begin a call: the beginning is given, and the grammar of the tools does the rest.
BEGUN_CALL = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<tool_call>\n{"}]

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "text cut by max_tokens": ({"max_tokens": 12}, "length"),
    "one token": ({"max_tokens": 1}, "length"),
    "a long text": ({"max_tokens": 150}, "length"),
    "stop": ({"grammar": 'root ::= [a-z]{3} "END" [a-z]{3}', "stop": ["END"]}, "stop"),
    "nothing": ({"grammar": 'root ::= ""'}, "stop"),
    "letters of two to four bytes": ({"grammar": 'root ::= "é日🦙" [a-z]{2} "é"'}, "stop"),
    "two choices": ({"n": 2, "temperature": 1.0, "max_tokens": 8}, "length"),
    "logprobs": ({"logprobs": True, "top_logprobs": 2, "max_tokens": 4}, "length"),
    "logprobs without alternatives": ({"logprobs": True, "max_tokens": 2}, "length"),
    "logprobs of two choices": ({"n": 2, "logprobs": True, "top_logprobs": 1, "max_tokens": 3}, "length"),
    "schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOUR}}},
        "stop",
    ),
    # Without a comma there is no second call.
    "tool": (
        {"messages": BEGUN_CALL, "tools": [WEATHER], "tool_choice": "required", "logit_bias": {",": -90}},
        "tool_calls",
    ),
    "parallel tools": (
        {
            "messages": BEGUN_CALL,
            "tools": [WEATHER, TIME],
            "tool_choice": "required",
            "parallel_tool_calls": True,
        },
        "length",
    ),
    "tools that are not called": ({"tools": [WEATHER], "max_tokens": 6}, "length"),
    "thoughts": (
        {"grammar": 'root ::= [a-z]{3} "</think>" [a-z]{3}', "chat_template_kwargs": {"enable_thinking": True}},
        "stop",
    ),
    "thoughts alone": ({"chat_template_kwargs": {"enable_thinking": True}, "max_tokens": 5}, "length"),
    "timings with every token": ({"timings_per_token": True, "max_tokens": 4}, "length"),
    "progress of the prompt": ({"return_progress": True, "max_tokens": 2}, "length"),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("engine")
    model = folder / "tiny.gguf"
    write_tiny_random(model)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(model), TEMPLATE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as child,
    ):
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()
        # Measured: the engine closes the connection behind every stream, whatever its Keep-Alive header says.
        headers = {"Connection": "close"}
        with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
            yield client
        # The context of Popen closes the child's stdin, which ends it, and waits.


def body(case: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "a long story about the sea"}],
        "temperature": 0,
        "seed": 1,
        "max_tokens": 400,
        "cache_prompt": False,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    return {**defaults, **case}


def whole(engine: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    answer = engine.post("/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def assembled(engine: httpx.Client, request: dict[str, Any]) -> dict[str, Any]:
    streamed = {**request, "stream": True, "stream_options": {"include_usage": True}}
    splitter, assembler, done = EventSplitter(), ChatAssembler(choices=request.get("n", 1)), False
    with engine.stream("POST", "/v1/chat/completions", json=streamed) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_bytes():
            for event in iter_events(splitter.feed(chunk)):
                assert not done
                done = is_done(event)
                if event.data is not None and not done:
                    assembler.add(json.loads(event.data))
    assert done
    assert assembler.finished
    assert splitter.pending == b""
    return assembler.result()


def comparable(value: Any, key: str = "") -> Any:
    """The value with the order of its keys, without what differs between two runs of one request."""
    if isinstance(value, dict):
        return [(name, comparable(one, name)) for name, one in value.items()]
    if isinstance(value, list):
        return [comparable(one) for one in value]
    if key in {"id", "created"} and not (key == "id" and isinstance(value, int)):
        return type(value)
    if isinstance(value, float):
        # Sums in another order, when two slots share a batch.
        return pytest.approx(value, rel=1e-3) if "logprob" in key else float
    return value


def timings_of(answer: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in answer["timings"].items() if isinstance(value, int)}


@pytest.mark.parametrize(("case", "finish"), CASES.values(), ids=CASES)
def test_the_assembled_stream_is_the_engines_own_answer(
    engine: httpx.Client, case: dict[str, Any], finish: str
) -> None:
    request = body(case)
    expected = whole(engine, request)
    # Otherwise the case would not show what it is there for.
    assert {choice["finish_reason"] for choice in expected["choices"]} == {finish}
    assert len(expected["choices"]) == request.get("n", 1)
    if request.get("n", 1) > 1:  # the engine tells of the first one alone
        usage = expected["usage"]
        usage["completion_tokens"] = request["n"] * request["max_tokens"]
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    answer = assembled(engine, request)
    assert comparable(answer) == comparable(expected)
    assert timings_of(answer) == timings_of(expected)


def test_the_cases_show_what_they_are_named_for(engine: httpx.Client) -> None:
    def first(name: str) -> dict[str, Any]:
        choice: dict[str, Any] = assembled(engine, body(CASES[name][0]))["choices"][0]
        return choice

    assert json.loads(first("schema")["message"]["content"])["colour"] in {"red", "blue"}
    assert len(first("logprobs")["logprobs"]["content"]) == 4
    assert len(first("parallel tools")["message"]["tool_calls"]) > 1
    assert first("tool")["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert len(first("thoughts")["message"]["reasoning_content"]) == 3
    assert "🦙" in first("letters of two to four bytes")["message"]["content"]
