"""What holds for every stream and every body, not only for those that somebody thought of."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire import anthropic_outgoing, responses_outgoing
from bodhi_jupyter.wire.anthropic import CountTokensRequest, MessagesRequest, anthropic_envelope
from bodhi_jupyter.wire.assemble import ChatAssembler
from bodhi_jupyter.wire.completions import completion_body, parse_completion
from bodhi_jupyter.wire.embeddings import EmbeddingRequest
from bodhi_jupyter.wire.errors import GatewayError, InvalidField, RequestError, openai_envelope
from bodhi_jupyter.wire.guard import Guard, StreamGuard
from bodhi_jupyter.wire.json_text import forwarded
from bodhi_jupyter.wire.openai import ChatRequest, parse_chat
from bodhi_jupyter.wire.repair import repair_chat
from bodhi_jupyter.wire.repair_answers import AnswerRepairs, ChatGuard
from bodhi_jupyter.wire.rerank import RerankRequest
from bodhi_jupyter.wire.responses import ResponsesRequest
from bodhi_jupyter.wire.sse import DONE, EventSplitter, iter_events
from bodhi_jupyter.wire.upstream import refusal, stream_failure
from bodhi_jupyter.wire.validation import parse_object, parse_request
from tests.fakes.behaviours import chat_chunk, chat_events, event
from tests.fakes.bodies import GOOD, HELLO, any_json, bodies, dump

# Timed assertions fail on busy machines. New finds are for whoever looks, not for a build that was fine yesterday.
settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")

TOKEN = {"id": 5, "token": "a", "bytes": [97], "logprob": -1.5, "top_logprobs": [{"token": "a", "logprob": -1.5}]}
CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ERROR = {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}
FUNCTION = {"name": "f", "parameters": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}


def chat(**more: Any) -> ChatRequest:
    return parse_chat(json.dumps({"model": "m", "messages": [HELLO], **more}).encode())


REQUESTS = (
    chat(),
    chat(n=2),
    chat(logprobs=True),
    chat(functions=[FUNCTION]),
    chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}),
)

# -- streams -----------------------------------------------------------------------------------------------------------

deltas = st.sampled_from(
    (
        {"content": "Once"},
        {"content": "é日🦙"},
        {"content": '"error": [DONE] \n\ndata: "finish_reason":"stop"'},
        {"content": '{"a": 1}'},
        {"content": "\\"},
        {"reasoning_content": 'she said "hm\\"'},
        {"tool_calls": [CALL]},
        {},
    )
) | st.fixed_dictionaries({"content": st.text(max_size=12)})
faults = st.sampled_from(
    (event(ERROR), DONE, b"data: not JSON\n\n", b'data: {"choices":[{"delta":{"content":"a}]}\n\n')
)


def piece_of(index: int, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"finish_reason": finish, "index": index, "delta": delta, **more}
    return event({"choices": [choice], "id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk"})


@st.composite
def streams(draw: st.DrawFn, choices: int = 1) -> bytes:
    """A chat as llama.cpp streams it, well or with something wrong at some point."""
    more = {"logprobs": {"content": [TOKEN]}} if draw(st.booleans()) else {}
    events = [piece_of(index, {"role": "assistant", "content": None}) for index in range(choices)]
    said = draw(st.lists(st.tuples(st.integers(0, choices - 1), deltas), max_size=8))
    events += [piece_of(index, delta, **more) for index, delta in said]
    for index in range(choices):
        events.append(piece_of(index, {}, draw(st.sampled_from(("stop", "length", "tool_calls")))))
        events.append(event({"choices": [], "id": "c", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}))
    events += [event({"choices": [], "timings": {"prompt_n": 3, "cache_n": 1, "predicted_n": 2}}), DONE]
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, len(events))), draw(faults))
    stream = b"".join(events)
    return stream[: draw(st.integers(0, len(stream)))] if draw(st.booleans()) else stream


#: Everything that the specification of server-sent events allows, and what it does not.
loose_streams = st.lists(
    st.sampled_from((b"\n", b"\r", b"\r\n", b"data: ", b"data", b":", b": ping", b"event: x", b"[DONE]", b"{}", b'"a"'))
    | st.binary(max_size=4),
    max_size=30,
).map(b"".join)


#: Garbage between two good events, all of which may come in one piece.
BURST = b"".join([*chat_events()[:2], b"data: not JSON\n\n", *chat_events()[2:]])
BURST_ENDS = BURST.index(b"\n\n", BURST.index(b" upon")) + 2


@st.composite
def split(draw: st.DrawFn, of: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A stream, and the same one in pieces, some of them empty."""
    stream = draw(of)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return stream, [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def outcome(guard: Guard, pieces: Iterable[bytes]) -> tuple[bytes, tuple[type, str, str] | None, tuple[Any, Any]]:
    """What was passed on, how it failed, and what was counted."""
    passed, failure = b"", None
    try:
        for piece in pieces:
            passed += guard.feed(piece)
            if guard.over:
                break
        passed += guard.end()
    except GatewayError as error:
        failure = (type(error), error.code, error.message)
    return passed, failure, (guard.prompt_tokens, guard.completion_tokens)


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]


class TestSplits:
    @given(split(loose_streams | streams()))
    def test_nothing_is_lost_and_the_events_are_the_same(self, case) -> None:
        stream, pieces = case
        splitter = EventSplitter()
        blocks = [splitter.feed(piece) for piece in pieces]
        assert b"".join(blocks) + splitter.pending == stream
        whole = EventSplitter()
        complete = whole.feed(stream)
        assert events_of(blocks) == events_of([complete])
        assert all(found.data is None for found in events_of([splitter.pending]))
        assert whole.pending.strip(b"\r\n") == splitter.pending.strip(b"\r\n")

    @given(split(streams()))
    @example((BURST, [BURST[:BURST_ENDS], BURST[BURST_ENDS:]]))
    def test_a_guarded_stream_is_the_same_bytes_with_the_same_end(self, case) -> None:
        stream, pieces = case
        assert outcome(StreamGuard("b"), pieces) == outcome(StreamGuard("b"), [stream])
        assert outcome(StreamGuard("b"), bytewise(stream)) == outcome(StreamGuard("b"), [stream])

    @pytest.mark.parametrize("request_", REQUESTS, ids=("plain", "n", "logprobs", "functions", "strict"))
    @given(data=st.data())
    def test_and_so_is_a_mended_one(self, request_, data) -> None:
        stream, pieces = data.draw(split(streams(request_.choices)))
        passed, failure, counts = outcome(ChatGuard(request_, "b"), pieces)
        at_once, same_failure, same_counts = outcome(ChatGuard(request_, "b"), [stream])
        assert failure == same_failure
        if failure is None:
            assert (passed, counts) == (at_once, same_counts)
            assert passed.endswith(DONE)
            assert passed.count(DONE) == 1
        else:
            # What came with the failure in one piece may be left out, nothing else.
            assert passed.startswith(at_once)
            assert DONE not in passed

    @given(split(streams(2)))
    def test_a_whole_answer_is_the_same(self, case) -> None:
        stream, pieces = case
        splitter = EventSplitter()
        blocks = [splitter.feed(piece) for piece in pieces]
        assert assembled(blocks) == assembled([stream])


def events_of(blocks: Iterable[bytes]) -> list[Any]:
    return [found for block in blocks for found in iter_events(block)]


def assembled(blocks: Sequence[bytes]) -> dict[str, Any] | None:
    """The answer so far; None where a chunk is no JSON."""
    assembler = ChatAssembler()
    for found in events_of(blocks):
        if found.data is not None and found.data != b"[DONE]":
            try:
                assembler.add(json.loads(found.data))
            except ValueError:
                return None
    return assembler.result()


# -- what a backend may say --------------------------------------------------------------------------------------------

parts = ("choices", "error", "usage", "timings", "delta", "message", "finish_reason", "index", "tool_calls", "logprobs")
odd = any_json | st.sampled_from((None, "stop", 0, True, [], {}, [None], [{}], {"content": [TOKEN]}, [CALL])).map(
    copy.deepcopy
)
choice_like = st.dictionaries(st.sampled_from(parts), odd, max_size=5)
chunk_like = st.fixed_dictionaries(
    {"choices": odd | st.lists(choice_like | odd, max_size=3)},
    optional={
        "usage": odd | st.dictionaries(st.sampled_from(("prompt_tokens", "completion_tokens")), odd, max_size=2),
        "timings": odd | st.dictionaries(st.sampled_from(("prompt_n", "cache_n", "predicted_n")), odd, max_size=3),
        "error": odd | st.dictionaries(st.sampled_from(("code", "message", "type", "param", "n_ctx")), odd, max_size=4),
    },
)


class TestBackends:
    @pytest.mark.parametrize("request_", REQUESTS, ids=("plain", "n", "logprobs", "functions", "strict"))
    @given(st.lists(chunk_like | any_json, max_size=4))
    def test_whatever_comes_in_a_stream_the_end_is_one_of_ours(self, request_, found) -> None:
        passed, failure, _ = outcome(ChatGuard(request_, "b"), [event(one) for one in found] + [DONE])
        assert (failure is None) == passed.endswith(DONE)

    @pytest.mark.parametrize("request_", REQUESTS, ids=("plain", "n", "logprobs", "functions", "strict"))
    @given(st.lists(chunk_like | any_json, max_size=4))
    def test_and_so_it_is_in_a_whole_answer(self, request_, found) -> None:
        guard, assembler = StreamGuard("b", request_.choices), ChatAssembler(choices=request_.choices)
        passed, failure, _ = outcome(guard, [event(one) for one in found] + [chat_chunk({}, "stop"), DONE])
        if failure is None:
            # `relay.assemble_stream` takes a ValueError for "no part of an answer".
            with contextlib.suppress(ValueError, GatewayError):
                for one in iter_events(passed):
                    if one.data is not None and one.data != b"[DONE]":
                        assembler.add(json.loads(one.data))
                is_json(AnswerRepairs(request_, "b").whole(assembler.result()))

    @given(st.integers(400, 599), any_json.map(dump) | chunk_like.map(dump) | st.binary(max_size=30))
    def test_every_refusal_is_an_error_in_openais_shape(self, status, body) -> None:
        has_four_keys(refusal(status, body, "b"))

    @given(st.dictionaries(st.sampled_from(("code", "message", "type", "param", "n_ctx", "x")), odd))
    def test_and_so_is_every_error_in_a_stream(self, found) -> None:
        has_four_keys(stream_failure(found, "b"))

    @given(st.text(max_size=30), st.none() | st.text(max_size=30), st.none() | st.text(min_size=1, max_size=9))
    def test_every_envelope_has_four_keys(self, message, param, code) -> None:
        has_four_keys(InvalidField(message, param=param, code=code))


def has_four_keys(error: GatewayError) -> None:
    envelope: dict[str, Any] = openai_envelope(error, endpoint="POST /v1/x", model="m")
    assert set(envelope) == {"error"}
    told = envelope["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert all(isinstance(told[key], str) for key in ("message", "type", "code"))
    assert told["message"]
    assert isinstance(told["param"], str | None)
    assert 400 <= error.status < 600
    is_json(envelope)
    is_json(anthropic_envelope(error, "req_1", endpoint="POST /v1/x", model="m"))


def is_json(document: Any) -> None:
    assert json.loads(json.dumps(document, allow_nan=False).encode()) == document


# -- what a caller may send --------------------------------------------------------------------------------------------


def chat_to_engine(body: bytes) -> Any:
    request = parse_chat(body)
    repaired = repair_chat(request, body)
    return parse_object(body) if repaired is None else repaired


def completion_to_engine(body: bytes) -> Any:
    return completion_body(parse_object(body), parse_completion(body), "m")


def responses_to_engine(body: bytes) -> Any:
    request = parse_request(ResponsesRequest, body)
    responses_outgoing.refuse_unsupported(request)
    is_json(responses_outgoing.response_frame(request, "m", 1))
    return responses_outgoing.to_engine(parse_object(body), request)


def message_to_engine(body: bytes) -> Any:
    return anthropic_to_engine(parse_request(MessagesRequest, body), body)


def count_to_engine(body: bytes) -> Any:
    return anthropic_to_engine(parse_request(CountTokensRequest, body), body)


def anthropic_to_engine(request: CountTokensRequest, body: bytes) -> Any:
    anthropic_outgoing.refuse_unsupported(request)
    return anthropic_outgoing.to_engine(parse_object(body), request)


def embedding_to_engine(body: bytes) -> Any:
    return {**parse_object(body), "input": list(parse_request(EmbeddingRequest, body).inputs)}


def rerank_to_engine(body: bytes) -> Any:
    return {**parse_object(body), "documents": parse_request(RerankRequest, body).texts}


ENGINES: dict[str, Callable[[bytes], Any]] = {
    "/v1/chat/completions": chat_to_engine,
    "/v1/completions": completion_to_engine,
    "/v1/responses": responses_to_engine,
    "/v1/messages": message_to_engine,
    "/v1/messages/count_tokens": count_to_engine,
    "/v1/embeddings": embedding_to_engine,
    "/v1/rerank": rerank_to_engine,
}


class TestBodies:
    @pytest.mark.parametrize("path", ENGINES)
    @given(data=st.data())
    def test_any_body_is_a_request_or_an_error_of_the_callers(self, path, data) -> None:
        body = data.draw(bodies(path))
        try:
            sent = ENGINES[path](body)
            assert json.loads(forwarded(sent), parse_constant=pytest.fail) == sent
        except RequestError as error:
            has_four_keys(error)

    @pytest.mark.parametrize("path", ENGINES)
    @pytest.mark.parametrize("odd", ["1e999", "1" * 5000, "[" * 150 + "]" * 150, '"\\u0000"', "-0.0"])
    def test_a_value_that_is_odd_as_json(self, path, odd) -> None:
        body = dump(GOOD[path])[:-1] + f', "x": {odd}}}'.encode()
        try:
            assert json.loads(forwarded(ENGINES[path](body)), parse_constant=pytest.fail)
        except RequestError as error:
            has_four_keys(error)

    @given(bodies("/v1/chat/completions"))
    def test_a_mended_chat_is_a_good_one_and_needs_no_mending(self, body) -> None:
        with contextlib.suppress(RequestError):
            request = parse_chat(body)
            repaired = repair_chat(request, body)
            if repaired is not None:
                again = dump(repaired)
                assert repair_chat(parse_again(again), again) in (None, repaired)


def parse_again(body: bytes) -> ChatRequest:
    """The chat; an error would not be the caller's."""
    try:
        return parse_chat(body)
    except RequestError as error:
        raise AssertionError(f"{error} in {body!r}") from error


def _kinds() -> Iterator[type]:
    waiting: list[type] = [GatewayError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        yield kind


def test_every_kind_of_error_has_four_keys() -> None:
    kinds = [kind for kind in _kinds() if kind.__module__.startswith("bodhi_jupyter.")]
    assert len(kinds) > 15
    values = {"status": 418, "retry_after": 1, "headers": {}, "prompt_tokens": 2, "context_tokens": 1, "reason": "no"}
    for kind in kinds:
        required = {
            name: values[name]
            for name, parameter in inspect.signature(kind).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        }
        has_four_keys(kind("no", **required))
