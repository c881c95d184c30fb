from __future__ import annotations

import copy
from typing import Any

import pytest

from bodhi_jupyter.wire.assemble import ChatAssembler, error_of
from bodhi_jupyter.wire.chunk_parts import MalformedChunk

HEAD = {
    "created": 1795381946,
    "id": "chatcmpl-1",
    "model": "tiny",
    "system_fingerprint": "b0-unknown",
    "object": "chat.completion.chunk",
}
USAGE = {"completion_tokens": 3, "prompt_tokens": 30, "total_tokens": 33, "prompt_tokens_details": {"cached_tokens": 0}}
TIMINGS = {"cache_n": 0, "prompt_n": 30, "prompt_ms": 1.5, "predicted_n": 3, "predicted_ms": 0.9}


def chunk(
    delta: dict[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **more: Any
) -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish, "index": index, "delta": delta or {}, **more}], **HEAD}


def tail(**more: Any) -> dict[str, Any]:
    return {"choices": [], **HEAD, "usage": USAGE, "timings": TIMINGS, **more}


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": more.pop("name"), "arguments": arguments} if "name" in more else {"arguments": arguments}
    return {"tool_calls": [{"index": index, **more, "function": function}]}


ROLE = {"role": "assistant", "content": None}


def assemble(*chunks: dict[str, Any], choices: int = 1) -> dict[str, Any]:
    assembler = ChatAssembler(choices=choices)
    for part in chunks:
        assembler.add(part)
    assert assembler.finished
    return assembler.result()


def message(*chunks: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = assemble(*chunks)["choices"][0]["message"]
    return result


def test_a_plain_answer_in_the_order_of_the_engine() -> None:
    answer = assemble(chunk(ROLE), chunk({"content": "one"}), chunk({"content": " two"}), chunk(finish="stop"), tail())
    expected = {
        "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "one two"}}],
        "created": 1795381946,
        "model": "tiny",
        "system_fingerprint": "b0-unknown",
        "object": "chat.completion",
        "usage": USAGE,
        "id": "chatcmpl-1",
        "timings": TIMINGS,
    }
    assert answer == expected
    assert list(answer) == list(expected)
    assert list(answer["choices"][0]) == ["finish_reason", "index", "message"]


def test_an_answer_of_no_words_is_an_empty_string() -> None:
    # Measured: when max_tokens cuts inside a character, the finish is the first chunk there is.
    assert message(chunk(finish="length")) == {"role": "assistant", "content": ""}


def test_tool_calls_are_put_together_by_index() -> None:
    got = message(
        chunk(ROLE),
        chunk(call(0, "{", id="a", type="function", name="weather")),
        chunk(call(0, '"city":')),
        chunk(call(0, '"Oslo"}')),
        chunk(call(1, "{", id="b", type="function", name="time")),
        chunk(call(1, "}")),
        chunk(finish="tool_calls"),
    )
    assert got == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}, "id": "a"},
            {"type": "function", "function": {"name": "time", "arguments": "{}"}, "id": "b"},
        ],
    }
    assert [list(one) for one in got["tool_calls"]] == [["type", "function", "id"]] * 2


def test_tool_calls_of_other_servers() -> None:
    got = message(
        chunk({"tool_calls": [{"function": {"name": "no_index", "arguments": None}, "id": "a"}]}),
        # Some servers repeat empty names and ids with every piece.
        chunk({"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": "{}"}, "thought": "x"}]}),
        chunk({"tool_calls": None}, finish="tool_calls"),
    )
    assert got["tool_calls"] == [
        {"type": "function", "function": {"name": "no_index", "arguments": "{}"}, "id": "a", "thought": "x"}
    ]


def test_reasoning_goes_beside_the_content() -> None:
    got = message(
        chunk(ROLE),
        chunk({"reasoning_content": "Let me"}),
        chunk({"reasoning_content": " see."}),
        chunk({"content": "Yes."}),
        chunk(call(0, "{}", id="a", name="f")),
        chunk(finish="stop"),
    )
    assert (got["reasoning_content"], got["content"]) == ("Let me see.", "Yes.")
    assert list(got) == ["role", "content", "reasoning_content", "tool_calls"]


def test_a_refusal_and_ollamas_reasoning_are_texts_too() -> None:
    got = message(
        chunk({"reasoning": "a", "refusal": "I "}), chunk({"reasoning": "b", "refusal": "won't."}), chunk(finish="stop")
    )
    assert (got["reasoning"], got["refusal"]) == ("ab", "I won't.")


def test_logprobs_are_joined() -> None:
    one, two = {"token": "a", "logprob": -0.1, "top_logprobs": []}, {"token": "b", "logprob": -0.2, "top_logprobs": []}
    answer = assemble(
        chunk(ROLE, logprobs=None),
        chunk({"content": "a"}, logprobs={"content": [one], "refusal": None}),
        chunk({"content": "b"}, logprobs={"content": [two]}),
        chunk(finish="stop"),
    )
    assert answer["choices"][0]["logprobs"] == {"content": [one, two]}
    assert list(answer["choices"][0]) == ["finish_reason", "index", "message", "logprobs"]


def test_choices_are_sorted_and_usage_is_that_of_all() -> None:
    # Measured: with n > 1 the engine sends a usage chunk behind every finish, and answers with choice 0's.
    answer = assemble(
        chunk(ROLE, index=1),
        chunk({"content": "B"}, index=1),
        chunk(ROLE, index=0),
        chunk(finish="stop", index=0),
        tail(usage={"completion_tokens": 1, "prompt_tokens": 30, "total_tokens": 31}, timings={"predicted_n": 1}),
        chunk({"content": "b"}, index=1),
        chunk(finish="length", index=1),
        tail(usage={"completion_tokens": 9, "prompt_tokens": 30, "total_tokens": 39}, timings={"predicted_n": 9}),
        choices=2,
    )
    assert [(one["index"], one["message"]["content"]) for one in answer["choices"]] == [(0, ""), (1, "Bb")]
    assert answer["usage"] == {"completion_tokens": 10, "prompt_tokens": 30, "total_tokens": 40}
    assert answer["timings"] == {"predicted_n": 1}


def test_usage_that_comes_once_counts_for_all_choices() -> None:
    answer = assemble(
        chunk(finish="stop", index=0), chunk(finish="stop", index=1), tail(usage={"completion_tokens": 9}), choices=2
    )
    assert answer["usage"] == {"completion_tokens": 9}


def test_null_takes_nothing_back_and_the_last_value_wins() -> None:
    answer = assemble(
        {**chunk(ROLE, stop_reason="x"), "usage": USAGE, "service_tier": "auto"},
        {**chunk({"audio": 1}, stop_reason=7), "usage": None, "service_tier": "default"},
        {**chunk({"audio": 2}, finish="stop", stop_reason=None), "usage": None},
    )
    assert answer["usage"] == USAGE
    assert answer["service_tier"] == "default"
    assert answer["choices"][0]["stop_reason"] == 7
    assert answer["choices"][0]["message"]["audio"] == 2


def test_what_concerns_the_stream_alone_is_left_out() -> None:
    progress = {"total": 30, "cache": 0, "processed": 30, "time_ms": 1}
    answer = assemble({**chunk(ROLE), "prompt_progress": progress, "obfuscation": "zz"}, chunk(finish="stop"), tail())
    assert answer == assemble(chunk(ROLE), chunk(finish="stop"), tail())


def test_keys_that_no_chunk_had_are_not_made_up() -> None:
    answer = assemble({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})
    assert list(answer) == ["choices", "object"]


def test_finished_needs_a_reason_for_every_choice_that_was_asked_for() -> None:
    assembler = ChatAssembler(choices=2)
    assert not assembler.finished
    assembler.add(tail())
    assert not assembler.finished
    assembler.add(chunk(finish="stop"))
    assert not assembler.finished
    assembler.add(chunk({"content": "a"}, index=1))
    assert not assembler.finished
    assembler.add(chunk(finish="length", index=1))
    assert assembler.finished


def test_a_choice_that_nobody_asked_for_has_to_finish_too() -> None:
    assembler = ChatAssembler()
    assembler.add(chunk(finish="stop"))
    assembler.add(chunk({"content": "a"}, index=1))
    assert not assembler.finished


def test_the_result_can_be_taken_twice_and_leaves_the_chunks_alone() -> None:
    chunks = [
        chunk(call(0, "{}", id="a", name="f"), logprobs={"content": [{"token": "a"}]}),
        chunk(finish="tool_calls"),
        tail(),
    ]
    before = copy.deepcopy(chunks)
    assembler = ChatAssembler()
    for one in chunks:
        assembler.add(one)
    first = assembler.result()
    assert assembler.result() == first
    assert chunks == before


@pytest.mark.parametrize(
    "malformed",
    [
        {"choices": "none"},
        {"choices": {}},
        {"choices": ["a"]},
        {"choices": [{"delta": "a"}]},
        {"choices": [{"index": "0", "delta": {}}]},
        {"choices": [{"delta": {"content": 1}}]},
        {"choices": [{"delta": {"tool_calls": {}}}]},
        {"choices": [{"delta": {"tool_calls": [1]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": "f"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {}}}]}}]},
        {"choices": [{"delta": {}, "logprobs": [1]}]},
        {"choices": [{"delta": {}, "logprobs": {"content": 1}}]},
    ],
)
def test_what_is_no_chunk_is_refused(malformed: dict[str, Any]) -> None:
    with pytest.raises(MalformedChunk):
        ChatAssembler().add(malformed)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": {"code": 500, "message": "m", "type": "t"}}, {"code": 500, "message": "m", "type": "t"}),
        ({"error": "m"}, {"message": "m"}),
        ({"error": {}}, {}),
        ({"object": "error", "message": "m", "type": "t"}, {"message": "m", "type": "t"}),
        ({**chunk({"content": "error"}), "error": None}, None),
        (chunk({"content": "error"}), None),
        ({}, None),
    ],
)
def test_error_of(event: dict[str, Any], error: dict[str, Any] | None) -> None:
    assert error_of(event) == error


def test_whole_calls_that_all_are_the_first_are_several() -> None:
    pieces = [call(0, '{"town": "Rome"}', id=name, name=name) for name in ("a", "b")]
    got = message(*(chunk(piece) for piece in pieces), chunk(finish="tool_calls"))
    assert [one["function"] for one in got["tool_calls"]] == [
        {"name": name, "arguments": '{"town": "Rome"}'} for name in ("a", "b")
    ]


def test_pieces_with_an_id_each_are_one_call() -> None:
    pieces = [call(0, piece, id=piece, name="a") for piece in ('{"town', '": "Rome"', "}")]
    (got,) = message(*(chunk(piece) for piece in pieces), chunk(finish="tool_calls"))["tool_calls"]
    assert got["function"] == {"name": "a", "arguments": '{"town": "Rome"}'}


def test_tool_calls_are_in_the_order_of_their_indexes() -> None:
    got = message(chunk(call(1, "{}", name="second")), chunk(call(0, "{}", name="first")), chunk(finish="tool_calls"))
    assert [one["function"]["name"] for one in got["tool_calls"]] == ["first", "second"]
