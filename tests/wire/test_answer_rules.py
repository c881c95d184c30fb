"""Finished answers that are not what was asked for: no call where one is due, calls that nobody allowed, no JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bodhi_jupyter.wire.anthropic import MessagesRequest
from bodhi_jupyter.wire.anthropic_stream import events_for
from bodhi_jupyter.wire.errors import BackendFailed
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.ollama_bodies import answer_rules
from bodhi_jupyter.wire.ollama_pieces import chat_piece
from bodhi_jupyter.wire.ollama_stream import ChatEnvelope, OllamaGuard, Timestamps
from bodhi_jupyter.wire.openai import parse_chat
from bodhi_jupyter.wire.repair_answers import AnswerRepairs, ChatGuard
from bodhi_jupyter.wire.responses import ResponsesRequest
from bodhi_jupyter.wire.responses_outgoing import response_frame, response_rules
from bodhi_jupyter.wire.responses_stream import ResponseEvents
from bodhi_jupyter.wire.sse import DONE
from bodhi_jupyter.wire.validation import parse_request
from tests.fakes.behaviours import chat_chunk
from tests.fakes.behaviours import event as chat_event
from tests.wire.native import event

#: What an answer does: its calls by names and arguments, or its text.
Said = str | list[tuple[str, str]]

TOWN: dict[str, Any] = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
#: One that no grammar could say all of.
LOOSE = {**TOWN, "not": {"required": ["time"]}}
FITS, ROME = '{"town": "Rome"}', [("weather", '{"town": "Rome"}')]


def function(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "parameters": TOWN, **more}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": function(name, **more)}


TOOLS = [tool("weather"), tool("time")]
STRICT = [tool("weather", strict=True)]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


def schema(**more: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": TOWN, **more}}}


#: Fields of a chat, what comes, the reason of its end, and the code of the refusal; None where it is an answer.
CHATS: dict[str, tuple[dict[str, Any], Said, str, str | None]] = {
    "due": ({"tools": TOOLS, "tool_choice": "required"}, "Hi there", "stop", "missing_tool_call"),
    "due, as one says": ({"tools": TOOLS, "tool_choice": "required"}, "x", "tool_calls", "missing_tool_call"),
    "due, in other words": ({"tools": TOOLS, "tool_choice": "required"}, "x", "eos", "missing_tool_call"),
    "due, cut": ({"tools": TOOLS, "tool_choice": "required"}, "Hi", "length", None),
    "due, filtered": ({"tools": TOOLS, "tool_choice": "required"}, "", "content_filter", None),
    "due, and made": ({"tools": TOOLS, "tool_choice": "required"}, ROME, "tool_calls", None),
    "due, and made, and stopped": ({"tools": TOOLS, "tool_choice": "required"}, ROME, "stop", None),
    "due, and twice": ({"tools": TOOLS, "tool_choice": "required"}, ROME * 2, "tool_calls", None),
    "twice, where one": ({"tools": TOOLS, "parallel_tool_calls": False}, ROME * 2, "stop", "unexpected_tool_call"),
    "one, where one": ({"tools": TOOLS, "parallel_tool_calls": False}, ROME, "tool_calls", None),
    "twice, where several": ({"tools": TOOLS, "parallel_tool_calls": True}, ROME * 2, "tool_calls", None),
    "not due": ({"tools": TOOLS, "tool_choice": "auto"}, "Hi", "stop", None),
    "not said": ({"tools": TOOLS}, "Hi", "stop", None),
    "a named one": ({"tools": TOOLS, "tool_choice": named("weather")}, "Hi", "stop", "missing_tool_call"),
    "the named one": ({"tools": TOOLS, "tool_choice": named("weather")}, ROME, "tool_calls", None),
    "another": ({"tools": TOOLS, "tool_choice": named("time")}, ROME, "tool_calls", "unexpected_tool_call"),
    "some due": ({"tools": TOOLS, "tool_choice": allowed("required", "time")}, "Hi", "stop", "missing_tool_call"),
    "some not due": ({"tools": TOOLS, "tool_choice": allowed("auto", "time")}, "Hi", "stop", None),
    "one of some": ({"tools": TOOLS, "tool_choice": allowed("auto", "weather")}, ROME, "tool_calls", None),
    "none of some": ({"tools": TOOLS, "tool_choice": allowed("auto", "time")}, ROME, "stop", "unexpected_tool_call"),
    "undeclared": ({"tools": TOOLS}, [("sleep", "{}")], "tool_calls", "unexpected_tool_call"),
    "undeclared behind": ({"tools": TOOLS}, [*ROME, ("sleep", "{}")], "tool_calls", "unexpected_tool_call"),
    "undeclared, cut": ({"tools": TOOLS}, [("sle", "")], "length", None),
    "nameless": ({"tools": TOOLS}, [("", "{}")], "tool_calls", "unexpected_tool_call"),
    "forbidden": ({"tools": TOOLS, "tool_choice": "none"}, ROME, "tool_calls", "unexpected_tool_call"),
    "forbidden, not made": ({"tools": TOOLS, "tool_choice": "none"}, "Hi", "stop", None),
    "forbidden, of no tools": ({"tool_choice": "none"}, ROME, "tool_calls", "unexpected_tool_call"),
    "without tools": ({}, ROME, "tool_calls", None),
    "broken": ({"tools": TOOLS}, [("weather", '{"town"')], "tool_calls", "invalid_tool_call"),
    "no object": ({"tools": TOOLS}, [("weather", '["Rome"]')], "tool_calls", "invalid_tool_call"),
    "no number": ({"tools": TOOLS}, [("weather", '{"town": NaN}')], "tool_calls", "invalid_tool_call"),
    "half a pair": ({"tools": TOOLS}, [("weather", r'{"town": "\ud83e"}')], "tool_calls", None),
    "no arguments": ({"tools": TOOLS}, [("weather", "")], "tool_calls", None),
    "others": ({"tools": TOOLS}, [("weather", '{"town": 5}')], "tool_calls", None),
    "strict": ({"tools": STRICT}, ROME, "tool_calls", None),
    "strict, others": ({"tools": STRICT}, [("weather", '{"town": 5}')], "tool_calls", "schema_mismatch"),
    "strict, none": ({"tools": STRICT}, [("weather", "")], "tool_calls", "schema_mismatch"),
    "strict, cut": ({"tools": STRICT}, [("weather", '{"to')], "length", None),
    "function": ({"functions": [function("weather")]}, ROME, "tool_calls", None),
    "function, undeclared": ({"functions": [function("time")]}, ROME, "tool_calls", "unexpected_tool_call"),
    "function, due": (
        {"functions": [function("weather")], "function_call": {"name": "weather"}},
        "Hi",
        "stop",
        "missing_tool_call",
    ),
    "function, forbidden": (
        {"functions": [function("weather")], "function_call": "none"},
        ROME,
        "tool_calls",
        "unexpected_tool_call",
    ),
    "object": ({"response_format": {"type": "json_object"}}, "{}", "stop", None),
    "prose": ({"response_format": {"type": "json_object"}}, "Once upon", "stop", "schema_mismatch"),
    "fenced": ({"response_format": {"type": "json_object"}}, "```json\n{}\n```", "stop", "schema_mismatch"),
    "nothing": ({"response_format": {"type": "json_object"}}, "", "stop", "schema_mismatch"),
    "array": ({"response_format": {"type": "json_object"}}, "[]", "stop", "schema_mismatch"),
    "array with a schema": (
        {"response_format": {"type": "json_object", "schema": {"type": "array"}}},
        "[]",
        "stop",
        None,
    ),
    "cut object": ({"response_format": {"type": "json_object"}}, '{"a', "length", None),
    "deep object": ({"response_format": {"type": "json_object"}}, '{"a":' * 300 + "1" + "}" * 300, "stop", None),
    "call instead": ({"response_format": {"type": "json_object"}, "tools": TOOLS}, ROME, "tool_calls", None),
    "prose for a call": (
        {"response_format": {"type": "json_object"}, "tools": TOOLS},
        "Hi",
        "stop",
        "schema_mismatch",
    ),
    "schema": (schema(), FITS, "stop", None),
    "schema, other JSON": (schema(), "null", "stop", None),
    "schema, prose": (schema(), "Rome", "stop", "schema_mismatch"),
    "strict schema, other JSON": (schema(strict=True), "null", "stop", "schema_mismatch"),
    "text": ({"response_format": {"type": "text"}}, "Rome", "stop", None),
    "own schema": ({"json_schema": TOWN}, FITS, "stop", None),
    "own schema, stopped": ({"json_schema": TOWN}, '{"town": ', "stop", "schema_mismatch"),
    "own schema, other JSON": ({"json_schema": TOWN}, "null", "stop", None),
    "own schema, cut": ({"json_schema": TOWN}, '{"town": ', "length", None),
    "own schema beside text": (
        {"json_schema": TOWN, "response_format": {"type": "text"}},
        "Rome",
        "stop",
        "schema_mismatch",
    ),
    "own schema behind a format": (
        {"json_schema": TOWN, "response_format": {"type": "json_object"}},
        "null",
        "stop",
        "schema_mismatch",
    ),
    "own schema, a call": ({"json_schema": TOWN, "tools": TOOLS}, ROME, "tool_calls", None),
}


def calls_of(said: Said) -> list[dict[str, Any]]:
    return [
        {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": text}}
        for index, (name, text) in enumerate([] if isinstance(said, str) else said)
    ]


def chunks_of(said: Said, reason: str) -> list[bytes]:
    """A text a character at a time, in the shape that passes unread; a call's arguments in two pieces."""
    chunks = [chat_chunk({"role": "assistant", "content": None})]
    if isinstance(said, str):
        chunks += [chat_chunk({"content": character}) for character in said]
    for call in calls_of(said):
        name, text = call["function"].values()
        begun = {**call, "function": {"name": name, "arguments": text[:3]}}
        rest = {"index": call["index"], "function": {"arguments": text[3:]}}
        chunks += [chat_chunk({"tool_calls": [begun]}), chat_chunk({"tool_calls": [rest]})]
    return [*chunks, chat_chunk({}, reason), DONE]


def chat_request(**more: Any) -> Any:
    return parse_chat(json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **more}).encode())


@pytest.mark.parametrize(("asked", "said", "reason", "code"), CHATS.values(), ids=CHATS)
class TestChats:
    def test_whole(self, asked: dict[str, Any], said: Said, reason: str, code: str | None) -> None:
        text = said if isinstance(said, str) else None
        message = {"role": "assistant", "content": text, "tool_calls": calls_of(said)}
        answer = {"choices": [{"index": 0, "finish_reason": reason, "message": message}]}
        repairs = AnswerRepairs(chat_request(**asked), "b")
        if code is None:
            assert repairs.whole(answer)["choices"]
        else:
            with pytest.raises(BackendFailed, match="The answer of the backend 'b'") as caught:
                repairs.whole(answer)
            assert caught.value.code == code

    @pytest.mark.parametrize("blocks", ["one each", "all at once"])
    def test_streamed(self, asked: dict[str, Any], said: Said, reason: str, code: str | None, blocks: str) -> None:
        chunks = chunks_of(said, reason)
        guard = ChatGuard(chat_request(**asked, stream=True), "b")

        def through() -> bytes:
            fed = chunks if blocks == "one each" else [b"".join(chunks)]
            return b"".join(guard.feed(chunk) for chunk in fed) + guard.end()

        if code is None:
            passed = through()
            assert passed.endswith(DONE)
            if isinstance(said, str):
                assert passed.count(b'"content":') == len(said) + 1
        else:
            with pytest.raises(BackendFailed) as caught:
                through()
            assert caught.value.code == code


class TestStreamsOfOthers:
    def test_each_of_several_answers_has_to_call(self) -> None:
        guard = ChatGuard(chat_request(tools=TOOLS, tool_choice="required", n=2), "b")
        for index in (0, 1):
            guard.feed(event_of(index, {"tool_calls": calls_of(ROME)}))
        guard.feed(event_of(0, {}, "tool_calls"))
        guard.feed(event_of(1, {}, "tool_calls"))
        assert guard.end()
        guard = ChatGuard(chat_request(tools=TOOLS, tool_choice="required", n=2), "b")
        guard.feed(event_of(0, {"tool_calls": calls_of(ROME)}, "tool_calls"))
        assert guard.feed(event_of(1, {"content": "Hi"}, "stop")) == b""
        with pytest.raises(BackendFailed):
            guard.end()

    @pytest.mark.parametrize(("text", "is_json"), [(FITS, True), ("Rome, of course", False)])
    def test_one_that_says_of_each_piece_that_it_is_the_last(self, text: str, is_json: bool) -> None:
        """As Gemini did behind several gateways, and Open WebUI of the first piece."""
        guard = ChatGuard(chat_request(response_format={"type": "json_object"}, stream=True), "b")
        pieces = [event_of(0, {"role": "assistant", "content": ""}, "stop")]
        pieces += [event_of(0, {"content": character}, "stop") for character in text]
        passed = b"".join(map(guard.feed, pieces))
        # The last one waits for the end, or a wrong answer would look like a right one.
        assert passed == b"".join(pieces[:-1])
        guard.feed(DONE)
        if is_json:
            assert guard.end() == pieces[-1] + DONE
        else:
            with pytest.raises(BackendFailed) as caught:
                guard.end()
            assert caught.value.code == "schema_mismatch"

    def test_a_last_piece_that_says_something_and_that_the_limit_cut_the_answer(self) -> None:
        guard = ChatGuard(chat_request(response_format={"type": "json_object"}, stream=True), "b")
        guard.feed(last := event_of(0, {"content": "{"}, "length"))
        assert guard.end() == last + DONE

    def test_what_comes_behind_a_last_piece_that_says_something(self) -> None:
        usage = chat_event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
        guard = ChatGuard(chat_request(tools=TOOLS, stream=True, stream_options={"include_usage": True}), "b")
        last = event_of(0, {"tool_calls": calls_of(ROME)}, "tool_calls")
        assert guard.feed(last + usage + DONE) == b""
        assert guard.end() == last + usage + DONE
        assert (guard.prompt_tokens, guard.completion_tokens) == (3, 2)

    @pytest.mark.parametrize("extras", [{}, {"index": None}, {"index": 0, "id": None, "type": None}])
    def test_a_call_in_one_piece(self, extras: dict[str, Any]) -> None:
        """As servers send it that know no deltas of calls."""
        guard = ChatGuard(chat_request(tools=TOOLS, tool_choice="required"), "b")
        call = {"function": {"name": "weather", "arguments": FITS}, **extras}
        assert guard.feed(piece := event_of(0, {"content": None, "tool_calls": [call]}, "stop")) == b""
        assert guard.end() == piece + DONE

    def test_calls_in_one_piece_each_that_all_are_the_first(self) -> None:
        guard = ChatGuard(chat_request(tools=TOOLS), "b")
        for name in ("weather", "time"):
            call = {"index": 0, "id": f"call_{name}", "function": {"name": name, "arguments": FITS}}
            guard.feed(event_of(0, {"tool_calls": [call]}))
        guard.feed(event_of(0, {}, "tool_calls"))
        assert guard.end() == DONE

    def test_a_call_in_the_deprecated_form(self) -> None:
        repairs = AnswerRepairs(chat_request(functions=[function("weather")], function_call={"name": "weather"}), "b")
        call = {"name": "weather", "arguments": FITS}
        message = {"role": "assistant", "content": None, "function_call": call}
        whole = {"choices": [{"index": 0, "finish_reason": "function_call", "message": message}]}
        assert repairs.whole(whole)["choices"][0]["message"]["function_call"] == call

    def test_a_refusal_has_no_format(self) -> None:
        message = {"role": "assistant", "content": None, "refusal": "I can't."}
        whole = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
        assert AnswerRepairs(chat_request(**schema()), "b").whole(whole)

    def test_texts_pass_unread_where_only_calls_matter(self) -> None:
        guard = ChatGuard(chat_request(tools=TOOLS), "b")
        guard.feed(chat_chunk({"content": "a"}))
        block = chat_chunk({"content": "b"})
        assert guard.feed(block) is block

    def test_a_message_tells_little_of_a_models_text(self) -> None:
        guard = ChatGuard(chat_request(tools=TOOLS), "b")
        with pytest.raises(BackendFailed) as caught:
            guard.feed(b"".join(chunks_of([("x" * 500, "{}")], "tool_calls")))
        assert len(caught.value.message) < 200


def event_of(index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
    return chat_event({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})


# -- Responses ---------------------------------------------------------------------------------------------------------

FLAT = [{"type": "function", **function("weather")}, {"type": "function", **function("time")}]
FORMAT = {"text": {"format": {"type": "json_schema", "name": "a", "schema": TOWN}}}
CHOICES: dict[str, tuple[dict[str, Any], Said, str | None]] = {
    "due": ({"tools": FLAT, "tool_choice": "required"}, "Hi", "missing_tool_call"),
    "due, and made": ({"tools": FLAT, "tool_choice": "required"}, ROME, None),
    "not due": ({"tools": FLAT}, "Hi", None),
    "a named one": ({"tools": FLAT, "tool_choice": {"type": "function", "name": "time"}}, "Hi", "missing_tool_call"),
    "another": ({"tools": FLAT, "tool_choice": {"type": "function", "name": "time"}}, ROME, "unexpected_tool_call"),
    "twice, where one": ({"tools": FLAT, "parallel_tool_calls": False}, ROME * 2, "unexpected_tool_call"),
    "one, where one": ({"tools": FLAT, "parallel_tool_calls": False}, ROME, None),
    "some due": (
        {
            "tools": FLAT,
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "time"}],
            },
        },
        "Hi",
        "missing_tool_call",
    ),
    "none of some": (
        {
            "tools": FLAT,
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "time"}]},
        },
        ROME,
        "unexpected_tool_call",
    ),
    "forbidden": ({"tools": FLAT, "tool_choice": "none"}, ROME, "unexpected_tool_call"),
    "undeclared": ({"tools": FLAT}, [("sleep", "{}")], "unexpected_tool_call"),
    "without tools": ({}, ROME, None),
    "broken": ({"tools": FLAT}, [("weather", "{")], "invalid_tool_call"),
    "no arguments": ({"tools": FLAT}, [("weather", "")], None),
    "strict, others": ({"tools": [{**FLAT[0], "strict": True}]}, [("weather", "{}")], "schema_mismatch"),
    "object": ({"text": {"format": {"type": "json_object"}}}, "{}", None),
    "prose": ({"text": {"format": {"type": "json_object"}}}, "Hi", "schema_mismatch"),
    "schema": (FORMAT, "5", None),
    "schema, prose": (FORMAT, "Hi", "schema_mismatch"),
    "own schema": ({"json_schema": TOWN}, FITS, None),
    "own schema, stopped": ({"json_schema": TOWN}, '{"town": ', "schema_mismatch"),
}


def response_guard(asked: dict[str, Any]) -> EventGuard:
    request = parse_request(ResponsesRequest, json.dumps({"model": "m", "input": "x", **asked}).encode())
    return EventGuard("b", ResponseEvents(response_frame(request, "m", 0), rules=response_rules(request)))


def response_items(said: Said) -> list[dict[str, Any]]:
    if isinstance(said, str):
        return [{"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": said}]}]
    return [
        {"type": "function_call", "id": f"fc_{index}", "name": name, "arguments": text}
        for index, (name, text) in enumerate(said)
    ]


@pytest.mark.parametrize("told", ["item by item", "at the end"])
@pytest.mark.parametrize(("asked", "said", "code"), CHOICES.values(), ids=CHOICES)
def test_responses(asked: dict[str, Any], said: Said, code: str | None, told: str) -> None:
    guard, items = response_guard(asked), response_items(said)
    usage = {"input_tokens": 1, "output_tokens": 1}
    guard.feed(event({"type": "response.created", "response": {"id": "resp_1"}}))
    if told == "item by item":
        for item in items:
            guard.feed(event({"type": "response.output_item.added", "item": item}))
            guard.feed(event({"type": "response.output_item.done", "item": item}))
    output = {"output": items} if told == "at the end" else {}
    guard.feed(event({"type": "response.completed", "response": {"id": "resp_1", "usage": usage, **output}}))
    if code is None:
        assert b'"type":"response.completed"' in guard.end()
    else:
        with pytest.raises(BackendFailed, match="The model's answer") as caught:
            guard.end()
        assert caught.value.code == code


def test_an_incomplete_response_is_told_as_one() -> None:
    guard = response_guard({"tools": FLAT, "tool_choice": "required"})
    usage = {"input_tokens": 1, "output_tokens": 1}
    guard.feed(event({"type": "response.created", "response": {"id": "resp_1"}}))
    guard.feed(event({"type": "response.incomplete", "response": {"id": "resp_1", "usage": usage}}))
    assert b'"type":"response.incomplete"' in guard.end()


# -- messages ----------------------------------------------------------------------------------------------------------

CUSTOM = [{"name": name, "input_schema": TOWN} for name in ("weather", "time")]
MESSAGES: dict[str, tuple[dict[str, Any], Said, str, str | None]] = {
    "due": ({"tools": CUSTOM, "tool_choice": {"type": "any"}}, "Hi", "end_turn", "missing_tool_call"),
    "due, stopped": ({"tools": CUSTOM, "tool_choice": {"type": "any"}}, "Hi", "stop_sequence", "missing_tool_call"),
    "due, cut": ({"tools": CUSTOM, "tool_choice": {"type": "any"}}, "Hi", "max_tokens", None),
    "due, refused": ({"tools": CUSTOM, "tool_choice": {"type": "any"}}, "Hi", "refusal", None),
    "due, and made": ({"tools": CUSTOM, "tool_choice": {"type": "any"}}, ROME, "tool_use", None),
    "not due": ({"tools": CUSTOM, "tool_choice": {"type": "auto"}}, "Hi", "end_turn", None),
    "a named one": (
        {"tools": CUSTOM, "tool_choice": {"type": "tool", "name": "time"}},
        "Hi",
        "end_turn",
        "missing_tool_call",
    ),
    "another": (
        {"tools": CUSTOM, "tool_choice": {"type": "tool", "name": "time"}},
        ROME,
        "tool_use",
        "unexpected_tool_call",
    ),
    "undeclared": ({"tools": CUSTOM}, [("sleep", "{}")], "tool_use", "unexpected_tool_call"),
    "forbidden": ({"tools": CUSTOM, "tool_choice": {"type": "none"}}, ROME, "tool_use", "unexpected_tool_call"),
    "without tools": ({}, ROME, "tool_use", None),
    "broken": ({"tools": CUSTOM}, [("weather", '{"town"')], "tool_use", "invalid_tool_call"),
    "broken, cut": ({"tools": CUSTOM}, [("weather", '{"town"')], "max_tokens", None),
    "no arguments": ({"tools": CUSTOM}, [("weather", "")], "tool_use", None),
    "strict, others": ({"tools": [{**CUSTOM[0], "strict": True}]}, [("weather", "{}")], "tool_use", "schema_mismatch"),
    "strict, as far as it goes": (
        {"tools": [{"name": "weather", "input_schema": LOOSE, "strict": True}]},
        [("weather", "{}")],
        "tool_use",
        None,
    ),
    "one at most": (
        {"tools": CUSTOM, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        [*ROME, ("sleep", "{}")],
        "tool_use",
        None,
    ),
}


@pytest.mark.parametrize(("asked", "said", "reason", "code"), MESSAGES.values(), ids=MESSAGES)
def test_messages(asked: dict[str, Any], said: Said, reason: str, code: str | None) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], **asked}
    guard = EventGuard("b", events_for(parse_request(MessagesRequest, json.dumps(body).encode())))
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if isinstance(said, str):
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": said}]))
    for call, text in [] if isinstance(said, str) else said:
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in (text[:3], text[3:])]
        blocks.append(({"type": "tool_use", "id": "1", "name": call}, pieces))
    fed = [{"type": "message_start", "message": {"usage": {}}}]
    for index, (block, deltas) in enumerate(blocks):
        fed.append({"type": "content_block_start", "index": index, "content_block": block})
        fed += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    fed += [{"type": "message_delta", "delta": {"stop_reason": reason}}, {"type": "message_stop"}]
    passed = b"".join(
        guard.feed(f"event: {one['type']}\ndata: {json.dumps(one, separators=(',', ':'))}\n\n".encode()) for one in fed
    )
    if code is None:
        assert b'"message_stop"' in guard.end()
        assert reason.encode() in passed
    else:
        assert b"message_delta" not in passed
        with pytest.raises(BackendFailed, match="The model's answer") as caught:
            guard.end()
        assert caught.value.code == code


def test_an_input_that_comes_with_its_block() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    tools = [{**CUSTOM[0], "strict": True}]
    guard = EventGuard("b", events_for(parse_request(MessagesRequest, json.dumps({**body, "tools": tools}).encode())))
    block = {"type": "tool_use", "id": "1", "name": "weather", "input": {"town": "Rome"}}
    guard.feed(event({"type": "message_start", "message": {"usage": {}}}))
    guard.feed(event({"type": "content_block_start", "index": 0, "content_block": block}))
    guard.feed(event({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}))
    guard.feed(event({"type": "message_stop"}))
    assert b"message_stop" in guard.end()


# -- Ollama ------------------------------------------------------------------------------------------------------------

#: `format`, the other fields of what is asked for it, what comes, the reason of its end, and the code of the refusal.
OLLAMA: dict[str, tuple[Any, dict[str, Any], Said, str, str | None]] = {
    "undeclared": (None, {"tools": TOOLS}, [("sleep", "{}")], "tool_calls", "unexpected_tool_call"),
    "declared": (None, {"tools": TOOLS}, ROME, "tool_calls", None),
    "not due": (None, {"tools": TOOLS}, "Hi", "stop", None),
    "broken": (None, {"tools": TOOLS}, [("weather", "{")], "tool_calls", "invalid_tool_call"),
    "without tools": (None, {}, ROME, "tool_calls", None),
    "an alias's choice": (None, {"tools": TOOLS, "tool_choice": "required"}, "Hi", "stop", "missing_tool_call"),
    "an alias's none": (None, {"tools": TOOLS, "tool_choice": "none"}, ROME, "stop", "unexpected_tool_call"),
    "an alias's broken tools": (None, {"tools": [5, {"function": 5}]}, "Hi", "stop", None),
    "an alias's nonsense": (None, {"tools": 5, "response_format": 5}, "Hi", "stop", None),
    "strict": (None, {"tools": STRICT}, [("weather", "{}")], "tool_calls", "schema_mismatch"),
    "json": ("json", {}, "{}", "stop", None),
    "json, prose": ("json", {}, "Once upon", "stop", "schema_mismatch"),
    "json, an array": ("json", {}, "[]", "stop", "schema_mismatch"),
    "json, cut": ("json", {}, '{"a', "length", None),
    "json, filtered": ("json", {}, '{"a', "content_filter", None),
    "json, a call": ("json", {"tools": TOOLS}, ROME, "tool_calls", None),
    "schema": (TOWN, {}, FITS, "stop", None),
    "schema, other JSON": (TOWN, {}, "{}", "stop", "schema_mismatch"),
    "schema, prose": (TOWN, {}, "Rome", "stop", "schema_mismatch"),
    "loose schema, other JSON": (LOOSE, {}, "{}", "stop", None),
    "loose schema, prose": (LOOSE, {}, "Rome", "stop", "schema_mismatch"),
    "an alias's schema": (None, schema(), "5", "stop", None),
    "an alias's schema, prose": (None, schema(), "Rome", "stop", "schema_mismatch"),
    "an alias's strict schema": (None, schema(strict=True), "{}", "stop", "schema_mismatch"),
    "an alias's object": (None, {"response_format": {"type": "json_object"}}, "[]", "stop", "schema_mismatch"),
    "an alias's text": (None, {"response_format": {"type": "text"}}, "Rome", "stop", None),
    "an alias's own schema": (None, {"json_schema": TOWN}, "Rome", "stop", "schema_mismatch"),
    "an alias's own schema that is none": (None, {"json_schema": 5}, "Rome", "stop", None),
    "what the caller says": ("json", {"response_format": {"type": "text"}}, "Rome", "stop", "schema_mismatch"),
}


@pytest.mark.parametrize(("wanted", "body", "said", "reason", "code"), OLLAMA.values(), ids=OLLAMA)
def test_ollama(wanted: Any, body: dict[str, Any], said: Said, reason: str, code: str | None) -> None:
    times = Timestamps(lambda: 0.0, lambda: "now", 0.0)
    rules = answer_rules(wanted, body, "b")
    guard = OllamaGuard("b", "m", chat_piece, ChatEnvelope(), times, rules=rules)
    for chunk in chunks_of(said, reason):
        guard.feed(chunk)
    if code is None:
        assert guard.final()["done"]
    else:
        with pytest.raises(BackendFailed, match="The answer of the backend 'b'") as caught:
            guard.final()
        assert caught.value.code == code


@pytest.mark.parametrize(("before", "code"), [("", None), ("Once", "schema_mismatch")])
def test_a_refusal_of_ollamas_has_no_format(before: str, code: str | None) -> None:
    times = Timestamps(lambda: 0.0, lambda: "now", 0.0)
    guard = OllamaGuard("b", "m", chat_piece, ChatEnvelope(), times, rules=answer_rules("json", {}, "b"))
    refused = [chat_chunk({"content": before})] if before else []
    refused += [chat_chunk({"content": None, "refusal": one}) for one in ("I ", "can't.")]
    for chunk in (*refused, chat_chunk({}, "stop"), DONE):
        guard.feed(chunk)
    if code is None:
        assert guard.final()["done"]
    else:
        with pytest.raises(BackendFailed) as caught:
            guard.final()
        assert caught.value.code == code


@pytest.mark.parametrize("name", [5, ["weather"], {"a": 1}])
def test_a_call_whose_name_is_no_text(name: Any) -> None:
    call = {"index": 0, "id": "1", "function": {"name": name, "arguments": "{}"}}
    times = Timestamps(lambda: 0.0, lambda: "now", 0.0)
    guard = OllamaGuard("b", "m", chat_piece, ChatEnvelope(), times, rules=answer_rules(None, {"tools": TOOLS}, "b"))
    guard.feed(chat_chunk({"tool_calls": [call]}) + chat_chunk({}, "stop"))
    with pytest.raises(BackendFailed):
        guard.final()
    chat = ChatGuard(chat_request(tools=TOOLS), "b")
    with pytest.raises(BackendFailed):
        chat.feed(chat_chunk({"tool_calls": [call]}) + chat_chunk({}, "stop"))
