"""Request bodies that nobody would write, for property tests: any JSON, and good requests with something changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

HELLO = {"role": "user", "content": "hello"}
_FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}

#: A good body for each route that takes one.
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "fake-model", "messages": [HELLO]},
    "/v1/chat/completions/input_tokens": {"model": "fake-model", "messages": [HELLO]},
    "/v1/chat/completions/control": {"model": "fake-model", "id": "chatcmpl-1", "action": "reasoning_end"},
    "/v1/completions": {"model": "fake-model", "prompt": "hello"},
    "/v1/embeddings": {"model": "fake-model", "input": "hello"},
    "/v1/rerank": {"model": "fake-model", "query": "q", "documents": ["a", {"text": "b"}]},
    "/v1/responses": {"model": "fake-model", "input": [HELLO]},
    "/v1/responses/input_tokens": {"input": "hello"},
    "/v1/messages": {"model": "fake-model", "messages": [HELLO], "max_tokens": 4},
    "/v1/messages/count_tokens": {"model": "fake-model", "messages": [HELLO]},
    "/v1/systemone": {"model": "fake-model", "input": "hello"},
}

#: Fields of the dialects, so that a change meets code that reads it.
FIELDS = (
    *("model", "messages", "prompt", "input", "query", "documents", "system", "instructions"),
    *("stream", "stream_options", "n", "best_of", "echo", "suffix", "max_tokens", "max_completion_tokens"),
    *("max_output_tokens", "temperature", "top_p", "top_k", "seed", "stop", "stop_sequences", "presence_penalty"),
    *("frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls"),
    *("functions", "function_call", "response_format", "reasoning_effort", "reasoning", "thinking", "text", "include"),
    *("modalities", "audio", "metadata", "store", "user", "previous_response_id", "conversation", "background"),
    *("dimensions", "encoding_format", "top_n", "return_documents", "output_config", "chat_template_kwargs", "x"),
)

#: What a field may well be, and pieces that fit together.
_PIECES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 20, 128, 2**31, 2**63, -(2**63), 10**400, 0.5, 1e300, "", "auto", "none"),
    *("required", "any", "text", "default", "fake-model", "\0", "\u00e9\U0001f999", [], {}, [""], [1, 2], [[1], [2]]),
    *(["a"] * 5, ["hello", ""], {"5": -100}, {"llama": 1}, [[5, False]], {"include_usage": True}),
    HELLO,
    {"role": "developer", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {}}]},
    {"role": "system", "content": "x", "name": "y"},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "reasoning": "hm"},
    {"role": "assistant", "tool_calls": [_CALL]},
    {"role": "assistant", "tool_calls": [{**_CALL, "function": {"name": "weather", "arguments": ""}}]},
    {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "function", "name": "weather", "content": None},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "HTTP://["}}]},
    {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": None}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "weather", "input": {}}]},
    {"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "x"}}]},
    {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
    {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": "rain"},
    {"type": "reasoning", "summary": [], "content": [{"text": "hm"}]},
    {"type": "function", "function": _FUNCTION},
    [{"type": "function", "function": {**_FUNCTION, "strict": True}}],
    [{"type": "function", **_FUNCTION}],
    [{"name": "weather", "input_schema": _FUNCTION["parameters"]}],
    [_FUNCTION],
    {"name": "weather"},
    {"type": "function", "name": "weather"},
    {"type": "tool", "name": "weather"},
    {"type": "function", "function": {"name": "weather"}},
    {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": _FUNCTION}]},
    },
    {"type": "enabled", "budget_tokens": 1024},
    {"type": "json_object"},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": _FUNCTION["parameters"], "strict": True}},
    {"type": "json_schema", "name": "x", "schema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}},
    {"format": {"type": "json_schema", "name": "x", "schema": {"type": "string", "pattern": "^a$"}}},
    {"effort": "none", "summary": "auto"},
)

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(("type", "role", "content", *FIELDS)), inner, max_size=4
        )
    ),
    max_leaves=12,
)
piece = st.sampled_from(_PIECES).map(copy.deepcopy)
value = piece | any_json | st.lists(piece, min_size=1, max_size=4)


@st.composite
def changed(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """`good` with up to four changes: a field added, anything anywhere replaced or taken out."""
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 4))):
        match draw(st.sampled_from(("add", "add", "replace", "append", "remove"))):
            case "add":
                body[draw(st.sampled_from(FIELDS))] = draw(value)
            case "append":
                lists = [one for one in _containers(body) if isinstance(one, list)]
                if lists:
                    draw(st.sampled_from(lists)).append(draw(value))
            case change:
                within = draw(st.sampled_from([one for one in _containers(body) if one] or [body]))
                if within:
                    key = draw(st.sampled_from(list(within) if isinstance(within, dict) else range(len(within))))
                    if change == "replace":
                        within[key] = draw(value)
                    else:
                        del within[key]
    return body


def bodies(path: str) -> st.SearchStrategy[bytes]:
    """Bodies for a route: mostly nearly good ones, then any JSON, then any bytes."""
    as_json = changed(GOOD[path]) | changed(GOOD[path]) | changed(GOOD[path]) | any_json
    return as_json.map(dump) | as_json.map(dump) | as_json.map(dump) | st.binary(max_size=40)


def dump(body: Any) -> bytes:
    return json.dumps(body).encode()


def _containers(within: Any) -> Iterator[Any]:
    """`within` and all objects and arrays in it."""
    if isinstance(within, dict | list):
        yield within
        for inner in within.values() if isinstance(within, dict) else within:
            yield from _containers(inner)
