"""The assembled stream of a completion against the engine's own answer, from the engine that we ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bodhi_jupyter.wire.completion_stream import CompletionGuard, LegacyLogprobs
from bodhi_jupyter.wire.completions import CompletionAssembler, completion_body, parse_completion
from bodhi_jupyter.wire.sse import is_done, iter_events
from tests.handlers.engines import KEY, running_engine

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "text cut by max_tokens": ({"max_tokens": 12}, "length"),
    "one token": ({"max_tokens": 1}, "length"),
    "stop": ({"grammar": 'root ::= [a-z]{3} "END" [a-z]{3}', "stop": ["END"]}, "stop"),
    "nothing": ({"grammar": 'root ::= ""'}, "stop"),
    "nothing, with logprobs": ({"grammar": 'root ::= ""', "logprobs": 1}, "stop"),
    "letters of two to four bytes": ({"grammar": 'root ::= "é日🦙" [a-z]{2} "é"', "logprobs": 1}, "stop"),
    "logprobs": ({"logprobs": 3, "max_tokens": 4}, "length"),
    "logprobs before a stop": (
        {"grammar": 'root ::= "é🦙" [a-z] "END" [a-z]', "stop": ["END"], "logprobs": 2},
        "stop",
    ),
    "two answers": ({"n": 2, "temperature": 1.0, "max_tokens": 6}, "length"),
    "two answers with logprobs": ({"n": 2, "logprobs": 1, "max_tokens": 3}, "length"),
    "several prompts": ({"prompt": ["the sea", "a ship", "the end"], "max_tokens": 5}, "length"),
    "several prompts, two answers": ({"prompt": ["the sea", "a ship"], "n": 2, "max_tokens": 5}, "length"),
    "tokens": ({"prompt": [1, 300, 301], "max_tokens": 5}, "length"),
    "timings with every token": ({"timings_per_token": True, "max_tokens": 4}, "length"),
    "progress of the prompt": ({"return_progress": True, "max_tokens": 2}, "length"),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    # Measured: the engine closes the connection behind every stream, whatever its Keep-Alive header says.
    headers = {"Connection": "close", "Authorization": f"Bearer {KEY}"}
    with (
        running_engine(tmp_path_factory.mktemp("engine"), n_parallel=2) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client,
    ):
        yield client


def whole(engine: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The engine's own answer, its log probabilities in the form of completions."""
    answer = engine.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    for choice in result["choices"]:
        if choice["logprobs"]:
            choice["logprobs"] = LegacyLogprobs(body["logprobs"]).convert(choice["logprobs"]["content"])
    return result


def assembled(engine: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    checked = parse_completion(json.dumps(body).encode())
    guard, assembler = CompletionGuard("b", checked), CompletionAssembler()
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with engine.stream("POST", "/v1/completions", json=streamed) as answer:
        assert answer.status_code == 200
        passed = b"".join([guard.feed(one) for one in answer.iter_bytes()]) + guard.end()
    for event in iter_events(passed):
        if event.data and not is_done(event):
            assembler.add(json.loads(event.data))
    return assembler.result()


def comparable(value: Any, key: str = "") -> Any:
    """The value with the order of its keys, without what differs between two runs of one request."""
    if isinstance(value, dict):
        return [(name, comparable(one, name)) for name, one in value.items()]
    if isinstance(value, list):
        return [comparable(one, key) for one in value]
    if key in {"id", "created"}:
        return type(value)
    # Sums in another order, when two slots share a batch.
    return pytest.approx(value, rel=1e-3) if isinstance(value, float) and value < 0 else value


def counts(timings: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in timings.items() if isinstance(value, int)}


@pytest.mark.parametrize(("case", "finish"), CASES.values(), ids=CASES)
def test_the_assembled_stream_is_the_engines_own_answer(
    engine: httpx.Client, case: dict[str, Any], finish: str
) -> None:
    body = {
        "model": "tiny",
        "prompt": "a long story about the sea",
        "temperature": 0,
        "seed": 1,
        "max_tokens": 400,
        "cache_prompt": False,
        **case,
    }
    expected, answer = whole(engine, body), assembled(engine, body)
    assert {choice["finish_reason"] for choice in expected["choices"]} == {finish}
    of_first, of_all = expected.pop("usage"), answer.pop("usage")
    if len(expected["choices"]) == 1:
        assert of_first == of_all
    else:
        # The engine counts the first alone.
        assert of_all["completion_tokens"] > of_first["completion_tokens"]
    counts = [
        {key: one for key, one in two.pop("timings").items() if isinstance(one, int)} for two in (expected, answer)
    ]
    assert counts[0] == counts[1]
    assert comparable(answer) == comparable(expected)


def test_repeated_prompts_are_answered_in_the_order_of_n(engine: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": ["the sea", "a ship"], "temperature": 0, "max_tokens": 5, "cache_prompt": False}
    texts = [one["text"] for one in whole(engine, body)["choices"]]
    assert texts[0] != texts[1]
    several = {**body, "n": 3}
    asked = completion_body(several, parse_completion(json.dumps(several).encode()), "tiny")
    repeated = whole(engine, {**asked, "stream": False})["choices"]
    assert [one["text"] for one in repeated] == [texts[0]] * 3 + [texts[1]] * 3
    assert [one["index"] for one in repeated] == list(range(6))
