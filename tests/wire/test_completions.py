"""Completions: what is refused, what is asked of the engine, and streams put right; the last against the engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bodhi_jupyter.wire.completion_stream import CompletionGuard, LegacyLogprobs
from bodhi_jupyter.wire.completions import (
    CompletionRequest,
    completion_body,
    parse_completion,
)
from bodhi_jupyter.wire.errors import BackendFailed, GatewayError, InvalidField
from bodhi_jupyter.wire.guard import StreamGuard
from bodhi_jupyter.wire.infill import InfillGuard, check_probe, infill_body
from bodhi_jupyter.wire.sse import DONE, data_event, is_done, iter_events


def request(**fields: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"model": "m", "prompt": "p", **fields}).encode())


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": []}, "prompt", "empty_array"),
    ({"prompt": 5}, "prompt", "invalid_type"),
    ({"prompt": {"prompt_string": "x"}}, "prompt", "invalid_type"),
    ({"prompt": [[]]}, "prompt[0]", "empty_array"),
    ({"prompt": ["a", [1]]}, "prompt[1]", "invalid_type"),
    ({"prompt": [1, "a"]}, "prompt[1]", "invalid_type"),
    ({"prompt": [-1]}, "prompt[0]", "integer_below_min_value"),
    ({"prompt": ["a"] * 2049}, "prompt", "array_above_max_length"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"n": 129}, "n", "integer_above_max_value"),
    ({"n": 2, "prompt": ["a"] * 1025}, "n", "invalid_value"),
    ({"n": 3, "best_of": 2}, "best_of", "invalid_value"),
    ({"n_cmpl": 3, "best_of": 2}, "best_of", "invalid_value"),
    ({"n_cmpl": 129}, "n_cmpl", "integer_above_max_value"),
    ({"n_cmpl": 2, "n": 3}, "n_cmpl", "invalid_value"),
    ({"best_of": 0}, "best_of", "invalid_value"),
    ({"best_of": 21}, "best_of", "integer_above_max_value"),
    ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
    ({"logprobs": -1}, "logprobs", "integer_below_min_value"),
    ({"logprobs": True}, "logprobs", "invalid_type"),
    ({"echo": True, "logprobs": 0}, "logprobs", "invalid_value"),
    ({"echo": "yes"}, "echo", "invalid_type"),
    ({"suffix": 3}, "suffix", "invalid_type"),
    ({"suffix": "x", "prompt": ["a", "b"]}, "prompt", "invalid_value"),
    ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
    ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
    ({"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
    ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
    ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ({"logit_bias": {"5": 101}}, "logit_bias.5", "decimal_above_max_value"),
    ({"stream": "no"}, "stream", "invalid_type"),
    ({"model": ""}, "model", "empty_string"),
    # The engine would answer all of these with free text and 200 (measured).
    ({"json_schema": {"type": "nonsense"}}, "json_schema", "invalid_json_schema"),
    ({"json_schema": {"properties": {"a": {"type": "int"}}}}, "json_schema", "invalid_json_schema"),
    ({"json_schema": {"type": "nonsense"}, "suffix": "s"}, "json_schema", "invalid_json_schema"),
    ({"json_schema": {"not": {"type": "string"}}}, "json_schema", "unsupported_json_schema"),
    ({"json_schema": "integer"}, "json_schema", "invalid_type"),
    ({"json_schema": []}, "json_schema", "invalid_type"),
    ({"json_schema": False}, "json_schema", "invalid_type"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"json_schema": {"type": "integer"}, "grammar": "root ::= [0-9]"}, "json_schema", "invalid_value"),
]


@pytest.mark.parametrize(("fields", "param", "code"), BAD, ids=[str(one)[:40] for one, _, _ in BAD])
def test_a_bad_request_names_its_field(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        request(**fields)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize("missing", ["model", "prompt"])
def test_what_is_missing_is_named(missing: str) -> None:
    body = {"model": "m", "prompt": "p"}
    del body[missing]
    with pytest.raises(InvalidField) as caught:
        parse_completion(json.dumps(body).encode())
    assert (caught.value.param, caught.value.code) == (missing, "missing_required_parameter")


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        (None, [""]),
        ("", [""]),
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_prompts_come_in_four_forms(prompt: Any, prompts: list[Any]) -> None:
    assert request(prompt=prompt).prompts == prompts
    assert request(prompt=prompt, n=3).choices == 3 * len(prompts)


def test_what_real_sdk_calls_send_passes() -> None:
    request(max_tokens=0, seed=-9007199254740991, best_of=1, stream_options={"include_usage": True}, user="u")
    request(**dict.fromkeys(["n", "suffix", "echo", "best_of", "logprobs", "max_tokens", "stop", "stream"]))
    assert request(min_p=0.1, grammar="root ::= [a]").choices == 1
    assert request(json_schema=None).json_schema is None
    assert request(json_schema={"type": "integer"}).json_schema == {"type": "integer"}


def test_the_engine_is_not_asked_for_what_is_ours() -> None:
    data = {"model": "m", "prompt": None, "echo": True, "best_of": 3, "suffix": None, "min_p": 0.1}
    asked = completion_body(data, request(prompt=None, echo=True, best_of=3), "theirs")
    assert asked == {"model": "theirs", "prompt": "", "min_p": 0.1}


@pytest.mark.parametrize(
    ("field", "sent", "asked"),
    [
        ("stop", "", []),
        ("stop", ["", "a"], ["a"]),
        ("stop", "ab", "ab"),
        ("stop", ["a"], ["a"]),
        ("logit_bias", {"5": 1, "abc": 2, "": 3, "²": 4}, {"5": 1}),
        ("logit_bias", {"5": 1, "-1": 2}, {"5": 1, "-1": 2}),
        ("logit_bias", [[5, 1.0], ["abc", False]], [[5, 1.0], ["abc", False]]),
        ("seed", None, None),
        ("user", "ann", None),
        ("metadata", {"a": "b"}, None),
    ],
)
def test_what_the_engine_would_take_amiss_is_put_right(field: str, sent: Any, asked: Any) -> None:
    data = {"prompt": "p", field: sent, "stream": True}
    assert completion_body(data, request(**data), "m").get(field) == asked
    assert infill_body(data, request(**data, suffix="s"), "m").get(field) == asked


@pytest.mark.parametrize("name", ["n", "n_cmpl"])
@pytest.mark.parametrize(
    ("prompt", "repeated"),
    [("a", ["a", "a"]), (["a", "b"], ["a", "a", "b", "b"]), ([1, 2], [[1, 2], [1, 2]])],
)
def test_several_answers_are_asked_for_by_repeated_prompts(prompt: Any, repeated: list[Any], name: str) -> None:
    data = {"prompt": prompt, name: 2, "stream": True}
    asked = completion_body(data, request(**data), "m")
    assert asked["prompt"] == repeated
    assert not {"n", "n_cmpl"} & asked.keys()
    assert data[name] == 2  # what came in is left as it was


@pytest.mark.parametrize("name", ["n", "n_cmpl"])
def test_with_a_seed_the_engine_makes_the_answers_differ(name: str) -> None:
    data = {"prompt": "a", name: 2, "seed": 1, "stream": True}
    asked = completion_body(data, request(**data), "m")
    assert (asked["prompt"], asked["n"]) == ("a", 2)


# -- streams ---------------------------------------------------------------------------------------------------


def chunk(text: str = "", index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish, **more.pop("choice", {})}
    envelope = {"created": 1, "model": "m", "object": "text_completion", "id": "chatcmpl-1"}
    return data_event(json.dumps({"choices": [choice], **envelope, **more}).encode())


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    return {
        "completion_tokens": completion,
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def through(guard: Any, stream: bytes, size: int) -> bytes:
    passed = b"".join(guard.feed(stream[start : start + size]) for start in range(0, len(stream), size))
    return passed + guard.end()


def chunks_of(stream: bytes) -> list[Any]:
    return [json.loads(event.data or b"") for event in iter_events(stream) if event.data and not is_done(event)]


PLAIN = chunk("a") + chunk("b") + chunk(finish="stop")


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_nothing_to_mend_passes_as_bytes(size: int) -> None:
    guard = CompletionGuard("b", request(stream=True))
    assert through(guard, PLAIN + DONE, size) == PLAIN + DONE
    assert guard.over


@pytest.mark.parametrize("size", [1, 5, 11, 10_000])
def test_null_events_between_prompts_are_dropped(size: int) -> None:
    null = b"data: null\n\n"
    stream = null + chunk("a") + chunk(finish="stop") + null + chunk("data: null", 1) + chunk("", 1, "stop")
    guard = CompletionGuard("b", request(prompt=["p", "q"], stream=True))
    assert through(guard, stream + DONE, size) == stream.replace(null, b"") + DONE
    # This is why: an event that is no chunk is a failure.
    plain = StreamGuard("b", 2)
    plain.feed(stream)
    with pytest.raises(GatewayError):
        plain.end()


@pytest.mark.parametrize("held", [b"d", b"data: nul", b"data: null\n"])
def test_half_an_event_at_the_end_is_a_failure(held: bytes) -> None:
    guard = CompletionGuard("b", request(prompt=["p", "q"], stream=True))
    guard.feed(chunk(finish="stop") + chunk("", 1, "stop") + held)
    with pytest.raises(BackendFailed):
        guard.end()


TOWN = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}


@pytest.mark.parametrize("size", [1, 10_000])
def test_an_answer_that_ends_by_itself_has_to_be_json_where_there_is_a_schema(size: int) -> None:
    guard = CompletionGuard("b", request(prompt=["p", "q"], json_schema=TOWN, echo=True, stream=True), ["P|", "Q|"])
    stream = chunk('{"town": ') + chunk('{"to', 1) + chunk('"Rome"}', finish="stop") + chunk("", 1, "length")
    assert through(guard, stream + DONE, size).endswith(DONE)
    guard = CompletionGuard("b", request(json_schema=TOWN, stream=True))
    # As a stop sequence leaves it.
    with pytest.raises(BackendFailed, match="is not JSON, as 'json_schema' requires") as caught:
        through(guard, chunk('{"town": ') + chunk(finish="stop") + DONE, size)
    assert caught.value.code == "schema_mismatch"


@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({"response_format": {"type": "json_object"}}, {"type": "object"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": TOWN}}}, TOWN),
        ({"response_format": {"type": "json_object"}, "json_schema": TOWN}, TOWN),
        ({"response_format": {"type": "json_object"}, "grammar": "root ::= [a]"}, None),
        ({"response_format": {"type": "text"}}, None),
    ],
)
def test_a_format_in_the_words_of_chats_is_told_to_the_engine_in_its_own(fields: dict[str, Any], schema: Any) -> None:
    asked = request(**fields)
    assert completion_body(fields, asked, "m").get("json_schema") == schema
    gap = request(**fields, suffix="s")
    assert infill_body(fields, gap, "m").get("json_schema") == schema
    prose = CompletionGuard("b", asked)
    if schema is None:
        assert through(prose, chunk("prose", finish="stop") + DONE, 10_000)
    else:
        place = "json_schema" if "json_schema" in fields else "response_format"
        with pytest.raises(BackendFailed, match=f"is not JSON, as '{place}' requires"):
            through(prose, chunk("prose", finish="stop") + DONE, 10_000)


def test_every_answer_must_be_finished() -> None:
    guard = CompletionGuard("b", request(prompt=["p", "q"], n=2, stream=True))
    for index in range(3):
        guard.feed(chunk("", index, "stop"))
    guard.feed(DONE)
    with pytest.raises(BackendFailed):
        guard.end()


def test_a_prompt_is_echoed_before_its_first_text_and_once() -> None:
    guard = CompletionGuard("b", request(prompt=["p", "q"], n=2, echo=True, stream=True), ["P|", "Q|"])
    stream = b"".join(chunk(f"{index}", index) for index in (0, 2, 1, 3, 0))
    passed = through(guard, stream + b"".join(chunk("", index, "stop") for index in range(4)) + DONE, 10_000)
    texts = [one["choices"][0]["text"] for one in chunks_of(passed)]
    assert texts == ["P|0", "Q|2", "P|1", "Q|3", "0", "", "", "", ""]


@pytest.mark.parametrize(("wanted", "events"), [(True, 2), (False, 1)])
def test_usage_is_one_chunk_without_choices_where_it_was_asked_for(wanted: bool, events: int) -> None:
    guard = CompletionGuard("b", request(stream=True, stream_options={"include_usage": wanted}))
    passed = chunks_of(through(guard, chunk(finish="stop", usage=usage(7, 3), timings={"prompt_n": 7}) + DONE, 9))
    assert len(passed) == events
    assert "usage" not in passed[0]
    assert passed[0]["timings"] == {"prompt_n": 7}
    assert (guard.prompt_tokens, guard.completion_tokens) == (7, 3)
    if wanted:
        assert passed[1] == {
            "id": "chatcmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": "m",
            "choices": [],
            "usage": usage(7, 3),
        }


def test_usage_counts_every_answer_and_each_prompt_once() -> None:
    guard = CompletionGuard("b", request(prompt=["p", "q"], n=2))
    ends = [chunk("", index, "stop", usage=usage(5 + index // 2, 10 + index, 1)) for index in (3, 0, 2, 1)]
    assert chunks_of(through(guard, b"".join(ends) + DONE, 10_000))[-1]["usage"] == usage(11, 46, 2)
    assert (guard.prompt_tokens, guard.completion_tokens) == (11, 46)


def test_usage_of_a_server_that_sends_a_chunk_for_it() -> None:
    # vLLM: null on every chunk, then the sum on one without choices.
    guard = CompletionGuard("b", request(prompt=["p", "q"], stream=True, stream_options={"include_usage": True}))
    total = data_event(json.dumps({"id": "x", "choices": [], "usage": usage(4, 2)}).encode())
    stream = chunk("a", usage=None) + chunk(finish="stop", usage=None) + chunk("", 1, "stop") + total
    passed = chunks_of(through(guard, stream + DONE, 10_000))
    assert [one["usage"] for one in passed if "usage" in one] == [usage(4, 2)]


def test_no_tokens_asked_for_none_given() -> None:
    guard = CompletionGuard("b", request(max_tokens=0, echo=True), ["the prompt"])
    passed = chunks_of(through(guard, chunk(" x") + chunk(finish="stop", usage=usage(4, 1)) + DONE, 10_000))
    assert "".join(one["choices"][0]["text"] for one in passed[:2]) == "the prompt"
    assert passed[1]["choices"][0]["finish_reason"] == "length"
    assert passed[2]["usage"] == usage(4, 0)


def test_no_tokens_of_a_server_that_does_not_count_the_prompt() -> None:
    guard = CompletionGuard("b", request(max_tokens=0))
    stream = chunk(" x") + chunk(finish="stop", usage={"completion_tokens": 1, "total_tokens": 1}) + DONE
    passed = chunks_of(through(guard, stream, 10_000))
    assert passed[1]["choices"][0]["finish_reason"] == "length"
    assert passed[2]["usage"] == {"completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize("garbage", [b"data: {]}\n\n", b'data: {"choices":[7]}\n\n', b'data: {"choices":{}}\n\n'])
def test_garbage_is_a_failure(garbage: bytes) -> None:
    guard = CompletionGuard("b", request(logprobs=1))
    with pytest.raises(BackendFailed):
        through(guard, garbage + PLAIN + DONE, 10_000)


def token(
    text: str, logprob: float, top: Sequence[tuple[str, float]] = (), data: bytes | None = None
) -> dict[str, Any]:
    alternatives = [{"token": one, "logprob": two} for one, two in top]
    return {
        "id": 1,
        "token": text,
        "logprob": logprob,
        "bytes": list(text.encode() if data is None else data),
        "top_logprobs": alternatives,
    }


def test_log_probabilities_in_the_form_of_completions() -> None:
    tokens = LegacyLogprobs(1)
    first = tokens.convert([token("ab", -1, [("x", -0.5), ("y", -0.7)]), token("c", -2, [("c", -2)])])
    assert first == {
        "tokens": ["ab", "c"],
        "token_logprobs": [-1, -2],
        "top_logprobs": [{"x": -0.5, "ab": -1}, {"c": -2}],
        "text_offset": [0, 2],
    }
    # A llama in two tokens is one character.
    llama = "🦙".encode()
    pieces = [token("", -3, data=llama[:2]), token("", -3, data=llama[2:]), token("d", -1)]
    assert tokens.convert(pieces)["text_offset"] == [3, 3, 4]


def test_log_probabilities_in_that_form_already_are_left() -> None:
    legacy = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": None, "text_offset": [0]}
    guard = CompletionGuard("b", request(logprobs=1))
    passed = chunks_of(through(guard, chunk("a", choice={"logprobs": legacy}) + chunk(finish="stop") + DONE, 9))
    assert passed[0]["choices"][0]["logprobs"] == legacy


# -- infill ----------------------------------------------------------------------------------------------------


def test_infill_is_asked_in_its_own_words() -> None:
    data = {"model": "m", "prompt": "p", "suffix": "s", "logprobs": 0, "best_of": 1, "max_tokens": 4, "top_k": 5}
    asked = infill_body(data, request(**data), "theirs")
    assert asked == {
        "model": "theirs",
        "input_prefix": "p",
        "input_suffix": "s",
        "max_tokens": 4,
        "top_k": 5,
        "n_probs": 1,
        "stream": True,
    }


def test_what_would_be_cut_is_refused() -> None:
    asked = request(prompt="before", suffix="after")
    check_probe({"prompt": "<pre>before<suf>after<mid>"}, asked)
    for seen, param in (("<pre>fore<suf>after<mid>", "prompt"), ("<pre>before<suf>aft<mid>", "suffix")):
        with pytest.raises(InvalidField) as caught:
            check_probe({"prompt": seen}, asked)
        assert (caught.value.param, caught.value.code) == (param, "context_length_exceeded")


def native(content: str, *, stop: bool = False, **more: Any) -> bytes:
    return data_event(json.dumps({"index": 0, "content": content, "stop": stop, **more}).encode())


def infill_guard(**fields: Any) -> InfillGuard:
    guard = CompletionGuard("b", request(suffix="s", **fields), fields.get("texts", ()))
    return InfillGuard("b", guard, {"id": "cmpl-1", "created": 5, "model": "m"})


END = {"stop_type": "limit", "tokens_evaluated": 6, "tokens_predicted": 2, "timings": {"prompt_n": 6}}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(("stop_type", "reason"), [("limit", "length"), ("eos", "stop"), ("word", "stop")])
def test_an_infill_leaves_as_a_completion(size: int, stop_type: str, reason: str) -> None:
    guard = infill_guard()
    end = native("", stop=True, **{**END, "stop_type": stop_type})
    first, second, last, total = chunks_of(through(guard, b": ping\n\n" + native("a") + native("b") + end, size))
    assert first == {
        "choices": [{"text": "a", "index": 0, "logprobs": None, "finish_reason": None}],
        "id": "cmpl-1",
        "created": 5,
        "model": "m",
        "object": "text_completion",
    }
    assert second["choices"][0]["text"] == "b"
    assert (last["choices"][0]["finish_reason"], last["timings"]) == (reason, {"prompt_n": 6})
    assert total["usage"] == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}
    assert (guard.prompt_tokens, guard.completion_tokens) == (6, 2)


@pytest.mark.parametrize(
    "stream",
    [
        native("a"),
        native("a") + native("", stop=True, **END)[:-9],
        native("a") + data_event(b'{"error":{"code":500,"message":"no"}}'),
        native("a") + b"data: [1]\n\n",
        native("a") + data_event(b'{"content":"a"}'),
        native("a") + b"data: {]\n\n",
    ],
)
def test_an_infill_that_fails_is_no_success(stream: bytes) -> None:
    with pytest.raises(GatewayError):
        through(infill_guard(), stream, 10_000)
