"""What is changed in an answer of llama.cpp's, whole or streamed, and that nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bodhi_jupyter.wire.errors import BackendFailed
from bodhi_jupyter.wire.openai import ChatRequest, parse_chat
from bodhi_jupyter.wire.repair_answers import AnswerRepairs, ChatGuard
from bodhi_jupyter.wire.sse import DONE, is_done, iter_events
from tests.fakes.behaviours import chat_answer, chat_chunk, chat_events, event

SCHEMA = {"type": "object", "properties": {"a": {"type": "number", "maximum": 1}}, "required": ["a"]}
TOKEN = {"id": 5, "token": "a", "bytes": [97], "logprob": -1.5, "top_logprobs": [{"token": "a", "logprob": -1.5}]}
CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(**more: Any) -> ChatRequest:
    return parse_chat(json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **more}).encode())


def strict(**more: Any) -> ChatRequest:
    json_schema = {"name": "x", "schema": SCHEMA, "strict": True}
    return chat(response_format={"type": "json_schema", "json_schema": json_schema}, **more)


def answer(message: dict[str, Any], finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    whole = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}, **more}
    return {**chat_answer(), "choices": [whole]}


def mended(request: ChatRequest, whole: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = AnswerRepairs(request, "b").whole(whole)["choices"][0]
    return choice


def through(request: ChatRequest, *blocks: bytes) -> bytes:
    guard = ChatGuard(request, "b")
    return b"".join(guard.feed(block) for block in blocks) + guard.end()


def parsed(stream: bytes) -> list[dict[str, Any]]:
    assert stream.endswith(DONE)
    return [json.loads(one.removeprefix(b"data: ")) for one in stream.removesuffix(DONE).split(b"\n\n") if one]


class TestWhole:
    def test_missing_keys_are_null(self) -> None:
        choice = mended(chat(), answer({"content": "x"}))
        assert choice["message"] == {"role": "assistant", "content": "x", "refusal": None}
        assert choice["logprobs"] is None

    def test_all_else_is_as_it_was(self) -> None:
        before, after = chat_answer(), AnswerRepairs(chat(), "b").whole(chat_answer())
        after["choices"][0].pop("logprobs")
        after["choices"][0]["message"].pop("refusal")
        assert after == before

    @pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
    def test_thoughts_under_both_names(self, name: str) -> None:
        message = mended(chat(), answer({"content": "x", name: "hm"}))["message"]
        assert (message["reasoning"], message["reasoning_content"]) == ("hm", "hm")

    def test_alternatives_nobody_asked_for(self) -> None:
        def alternatives(**more: Any) -> Any:
            logprobs = json.loads(json.dumps({"content": [TOKEN]}))
            choice = mended(chat(logprobs=True, **more), answer({"content": "a"}, logprobs=logprobs))
            return choice["logprobs"]["content"][0]["top_logprobs"]

        assert alternatives() == alternatives(top_logprobs=0) == []
        assert alternatives(top_logprobs=1) == TOKEN["top_logprobs"]

    @pytest.mark.parametrize("said", ["", " \n", None])
    def test_a_call_without_arguments(self, said: str | None) -> None:
        def arguments(finish_reason: str) -> Any:
            call = {**CALL, "function": {"name": "f", "arguments": said}}
            choice = mended(chat(), answer({"content": None, "tool_calls": [call]}, finish_reason))
            return choice["message"]["tool_calls"][0]["function"]["arguments"]

        assert (arguments("tool_calls"), arguments("stop")) == ("{}", "{}")
        assert arguments("length") == said  # cut off before they came

    def test_a_call_of_another_kind_is_left_alone(self) -> None:
        calls = [{"id": "1", "type": "custom", "custom": {"name": "f", "input": ""}}]
        choice = mended(chat(), answer({"content": None, "tool_calls": calls}, "tool_calls"))
        assert choice["message"]["tool_calls"] == calls

    def test_a_function_call(self) -> None:
        whole = answer({"content": "", "tool_calls": [CALL]}, "tool_calls")
        choice = mended(chat(functions=[{"name": "f"}]), whole)
        assert choice["finish_reason"] == "function_call"
        assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
        assert "tool_calls" not in choice["message"]

    def test_a_tool_call_stays_one(self) -> None:
        tools = [{"type": "function", "function": {"name": "f"}}]
        choice = mended(chat(tools=tools), answer({"content": "", "tool_calls": [CALL]}, "tool_calls"))
        assert (choice["finish_reason"], choice["message"]["tool_calls"]) == ("tool_calls", [CALL])

    @pytest.mark.parametrize("text", ['{"a": 2}', "{}", "once upon a time", "", None])
    def test_what_does_not_fit_the_strict_schema_is_no_answer(self, text: str | None) -> None:
        with pytest.raises(BackendFailed, match="does not fit the schema") as caught:
            mended(strict(), answer({"content": text}))
        assert caught.value.code == "schema_mismatch"

    @pytest.mark.parametrize("whole", [{}, {"choices": 5}, {"choices": [{}]}, {"choices": [{"message": []}]}])
    def test_what_is_no_answer_is_a_failure(self, whole: dict[str, Any]) -> None:
        with pytest.raises(BackendFailed):
            AnswerRepairs(chat(), "b").whole(whole)

    def test_what_fits_or_was_cut_or_calls_a_tool_is(self) -> None:
        mended(strict(), answer({"content": '{"a": 0.5}'}))
        mended(strict(), answer({"content": '{"a"'}, "length"))
        mended(strict(), answer({"content": "", "tool_calls": [CALL]}, "tool_calls"))


class TestStream:
    def test_the_first_delta_has_text(self) -> None:
        events = chat_events()
        sent = through(chat(), *events)
        assert sent == b"".join(events).replace(b'"content":null', b'"content":""')
        assert sent.count(b'"content":""') == 1

    def test_of_every_choice(self) -> None:
        first = {"role": "assistant", "content": None}
        events = [
            event({"choices": [{"finish_reason": reason, "index": index, "delta": delta}]})
            for index, delta, reason in ((1, first, None), (1, {}, "stop"), (0, first, None), (0, {}, "stop"))
        ]
        assert b"null}" not in through(chat(n=2), *events, DONE).replace(b'"finish_reason":null', b"")

    def test_later_blocks_are_passed_on_unread(self) -> None:
        guard = ChatGuard(chat(), "b")
        guard.feed(chat_events()[0])
        block = chat_events()[1]
        assert guard.feed(block) is block

    @pytest.mark.parametrize("cut", ["\n", "\r\n"])
    def test_an_event_of_several_lines_says_the_same_as_on_one(self, cut: str) -> None:
        end = chat_chunk({}, "stop")
        several = end.decode().strip().replace(',"', f',{cut}data: "') + cut * 2
        assert several.count("data: ") > 1
        (passed, done) = iter_events(through(chat(), several.encode(), DONE))
        assert json.loads(passed.data or b"") == parsed(end + DONE)[0]
        assert is_done(done)

    @pytest.mark.parametrize("wanted", [True, False])
    @pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
    def test_usage_alone_is_for_who_asked_for_it(self, wanted: bool, end: bytes) -> None:
        counts = {"prompt_tokens": 7, "completion_tokens": 3}
        usage = event({"choices": [], "usage": counts}).replace(b"\n\n", end)
        guard = ChatGuard(chat(stream=True, stream_options={"include_usage": wanted}), "b")
        guard.feed(chat_chunk({}, "stop"))
        assert (b"usage" in guard.feed(usage)) is wanted
        assert (guard.prompt_tokens, guard.completion_tokens) == (7, 3)

    def test_words_of_the_model_are_no_keys(self) -> None:
        text = '"role":"assistant","content":null "reasoning_content":"x" \\"reasoning_content\\":\\"x\\"'
        events = [chat_chunk({"content": text}), chat_chunk({}, "stop"), DONE]
        assert through(chat(), *events) == b"".join(events)

    @pytest.mark.parametrize("text", ["hm", "", 'say "x" \\', "\\\\", "é日🦙\n"])
    def test_thoughts_under_both_names(self, text: str) -> None:
        chunks = parsed(through(chat(), chat_chunk({"reasoning_content": text}), chat_chunk({}, "stop"), DONE))
        assert chunks[0]["choices"][0]["delta"] == {"reasoning_content": text, "reasoning": text}

    def test_thoughts_that_have_both_names_already(self) -> None:
        block = chat_chunk({"reasoning_content": "a", "reasoning": "a"})
        assert ChatGuard(chat(), "b").feed(block) == block

    def test_alternatives_nobody_asked_for(self) -> None:
        choice = {"index": 0, "finish_reason": "stop", "delta": {"content": "a"}, "logprobs": {"content": [TOKEN]}}
        chunks = parsed(through(chat(logprobs=True), event({"choices": [choice]}), DONE))
        assert chunks[0]["choices"][0]["logprobs"]["content"] == [{**TOKEN, "top_logprobs": []}]

    def test_a_function_call(self) -> None:
        pieces = [
            chat_chunk({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]}),
            chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
            chat_chunk({}, "tool_calls"),
        ]
        first, second, last = parsed(through(chat(functions=[{"name": "f"}]), *pieces, DONE))
        assert first["choices"][0]["delta"] == {"function_call": {"name": "f", "arguments": "{"}}
        assert second["choices"][0]["delta"] == {"function_call": {"arguments": "}"}}
        assert last["choices"][0]["finish_reason"] == "function_call"

    def test_comments_stay(self) -> None:
        sent = through(strict(), b": ping\n\n" + chat_chunk({"content": '{"a":1}'}), chat_chunk({}, "stop"), DONE)
        assert sent.startswith(b": ")

    def test_what_does_not_fit_the_strict_schema_never_finishes(self) -> None:
        guard = ChatGuard(strict(), "b")
        assert b'{\\"a\\"' in guard.feed(chat_chunk({"content": '{"a"'}))
        guard.feed(chat_chunk({"content": ": 2}"}))
        with pytest.raises(BackendFailed, match="does not fit the schema"):
            guard.feed(chat_chunk({}, "stop"))

    def test_what_fits_the_strict_schema_finishes(self) -> None:
        pieces = [chat_chunk({"content": text}) for text in ('{"a"', ": ", "0.5}")]
        chunks = parsed(through(strict(), *pieces, chat_chunk({}, "stop"), DONE))
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == '{"a": 0.5}'
        assert parsed(through(strict(), pieces[0], chat_chunk({}, "length"), DONE))

    def test_each_choice_has_to_fit(self) -> None:
        def block(index: int, text: str) -> bytes:
            choice = {"index": index, "finish_reason": "stop", "delta": {"content": text}}
            return event({"choices": [choice]})

        through(strict(n=2), block(1, '{"a": 0}'), block(0, '{"a": 1}'), DONE)
        with pytest.raises(BackendFailed):
            through(strict(n=2), block(1, '{"a": 0}'), block(0, '{"b": 1}'), DONE)

    def test_what_is_no_chunk_is_a_failure(self) -> None:
        for data in ({"choices": [5]}, {"choices": [{"delta": {"content": 5}, "finish_reason": "stop"}]}, [1]):
            with pytest.raises(BackendFailed):
                through(strict(), event(data), DONE)
