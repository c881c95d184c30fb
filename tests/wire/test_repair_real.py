"""The engine that we ship, with and without the repairs: each wrong is there, and is put right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from bodhi_jupyter.wire.errors import GatewayError
from bodhi_jupyter.wire.openai import parse_chat
from bodhi_jupyter.wire.repair import repair_chat
from bodhi_jupyter.wire.repair_answers import AnswerRepairs, ChatGuard
from bodhi_jupyter.wire.schema import LEFT_OUT, check_schema
from bodhi_jupyter.wire.schema_answers import conforms
from bodhi_jupyter.wire.sse import DONE
from bodhi_jupyter.wire.upstream import refusal
from tests.wire.native import BEGUN_CALL, running_engine
from tests.wire.test_schema import FINE, MISREAD

if TYPE_CHECKING:
    import httpx

HELLO = {"role": "user", "content": "hello"}
BASE: dict[str, Any] = {
    "model": "m",
    "messages": [HELLO],
    "temperature": 0,
    "max_tokens": 4,
    "chat_template_kwargs": {"enable_thinking": False},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_engine(tmp_path_factory.mktemp("engine")) as client:
        yield client


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def raw(engine: httpx.Client, **more: Any) -> httpx.Response:
    return engine.post("/v1/chat/completions", json={**BASE, **more})


def sent(engine: httpx.Client, **more: Any) -> httpx.Response:
    """The request as the gateway would send it."""
    body = json.dumps({**BASE, **more}).encode()
    data = repair_chat(parse_chat(body), body)
    return engine.post("/v1/chat/completions", json=data) if data else engine.post("/v1/chat/completions", content=body)


def answered(engine: httpx.Client, **more: Any) -> dict[str, Any]:
    response = sent(engine, **more)
    assert response.status_code == 200, response.text
    repairs = AnswerRepairs(parse_chat(json.dumps({**BASE, **more}).encode()), "b")
    choice: dict[str, Any] = repairs.whole(response.json())["choices"][0]
    return choice


def refused(response: httpx.Response) -> GatewayError:
    assert response.status_code >= 400, response.text
    error = refusal(response.status_code, response.content, "b")
    assert error.status == 400, response.text
    return error


def begun(**more: Any) -> dict[str, Any]:
    """Random weights would never begin a call: the beginning is given, and the grammar of the tools does the rest."""
    return {"messages": [HELLO, {"role": "assistant", "content": BEGUN_CALL}], "max_tokens": 60, **more}


@pytest.mark.parametrize("name", ["name", "tool_call_id", "reasoning_content"])
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_nulls_in_messages(engine: httpx.Client, role: str, name: str) -> None:
    messages = [{"role": role, "content": "x", name: None}, HELLO]
    assert raw(engine, messages=messages).status_code == 500
    assert sent(engine, messages=messages).status_code == 200


def test_a_null_for_a_description(engine: httpx.Client) -> None:
    described = {"type": "function", "function": {"name": "f", "description": None, "parameters": {"type": "object"}}}
    assert raw(engine, tools=[described]).status_code == 500
    assert sent(engine, tools=[described]).status_code == 200


def test_a_call_without_its_type(engine: httpx.Client) -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]
    assert raw(engine, messages=messages).status_code == 500
    assert sent(engine, messages=messages).status_code == 200


def test_only_the_named_tool_is_called(engine: httpx.Client) -> None:
    for name in ("first", "second"):
        choice = answered(
            engine,
            **begun(
                tools=[tool("first"), tool("second")],
                tool_choice={"type": "function", "function": {"name": name}},
                logit_bias={",": -90},
            ),
        )
        assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == [name]


def test_a_call_that_is_due_comes_beside_a_format_of_the_text(engine: httpx.Client) -> None:
    asked = {"tools": [tool("f")], "tool_choice": "required", "response_format": {"type": "json_object"}}
    message = raw(engine, **asked, max_tokens=60).json()["choices"][0]["message"]
    assert (message["content"].lstrip()[:1], message.get("tool_calls")) == ("{", None)
    assert answered(engine, **begun(**asked))["message"]["tool_calls"][0]["function"]["name"] == "f"


def test_only_an_allowed_tool_is_called(engine: httpx.Client) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "second"}}]}
    choice = answered(
        engine,
        **begun(
            tools=[tool("first"), tool("second")],
            tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
            parallel_tool_calls=False,
        ),
    )
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["second"]


def test_a_deprecated_function_is_called(engine: httpx.Client) -> None:
    choice = answered(engine, **begun(functions=[tool("f")["function"]], function_call={"name": "f"}))
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"]["name"] == "f"
    assert json.loads(choice["message"]["function_call"]["arguments"]) == {"a": "x"}


def test_no_tools_are_shown_where_none_may_be_called(engine: httpx.Client) -> None:
    def prompt_tokens(**more: Any) -> int:
        tokens: int = sent(engine, **more).json()["usage"]["prompt_tokens"]
        return tokens

    plain = prompt_tokens()
    assert prompt_tokens(tools=[tool("f")], tool_choice="none") == plain
    assert raw(engine, tools=[tool("f")], tool_choice="none").json()["usage"]["prompt_tokens"] > plain


def test_a_tool_that_takes_anything(engine: httpx.Client) -> None:
    parameters = {"type": "object", "properties": {"a": True, "b": {"type": "array", "items": True}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert refused(raw(engine, tools=tools)).code == "invalid_json_schema"
    assert sent(engine, tools=tools).status_code == 200


def test_logprobs_without_alternatives(engine: httpx.Client) -> None:
    assert len(raw(engine, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 20
    assert "logprobs" not in raw(engine, logprobs=True, top_logprobs=0).json()["choices"][0]
    for more in ({}, {"top_logprobs": 0}):
        tokens = answered(engine, logprobs=True, **more)["logprobs"]["content"]
        assert len(tokens) == 4
        assert all(token["top_logprobs"] == [] and token["logprob"] < 0 for token in tokens)


def test_logprobs_of_tools_only_whole(engine: httpx.Client) -> None:
    error = refused(sent(engine, logprobs=True, tools=[tool("f")], stream=True))
    assert (error.param, error.code) == ("logprobs", "unsupported")
    assert answered(engine, logprobs=True, tools=[tool("f")])["logprobs"]["content"]
    assert sent(engine, logprobs=True, tools=[tool("f")], tool_choice="none", stream=True).status_code == 200


def test_an_empty_stop_ends_nothing(engine: httpx.Client) -> None:
    assert raw(engine, stop="").json()["choices"][0]["message"]["content"] == ""
    assert answered(engine, stop="")["message"]["content"]


def test_no_thinking(engine: httpx.Client) -> None:
    thinking = answered(engine, chat_template_kwargs={})
    assert thinking["message"]["reasoning"] == thinking["message"]["reasoning_content"] != ""
    assert not answered(engine, chat_template_kwargs={}, reasoning_effort="none")["message"].get("reasoning_content")


def test_thoughts_in_the_history_reach_the_template(engine: httpx.Client) -> None:
    def prompt_tokens(**thoughts: str) -> int:
        messages = [HELLO, {"role": "assistant", "content": "x", **thoughts}, HELLO]
        tokens: int = sent(engine, messages=messages).json()["usage"]["prompt_tokens"]
        return tokens

    assert (
        prompt_tokens(reasoning="deep thoughts") == prompt_tokens(reasoning_content="deep thoughts") > prompt_tokens()
    )


HISTORIES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "a refusal": ([{"role": "assistant", "content": None, "refusal": "no"}, HELLO], 200),
    "a refusal alone": ([{"role": "assistant", "refusal": "no"}, HELLO], 400),
    "a refusal as a part": ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, HELLO], 400),
    "thoughts alone": ([{"role": "assistant", "reasoning_content": "hm"}, HELLO], 400),
    "a call without arguments": (
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "x"},
        ],
        500,
    ),
}


@pytest.mark.parametrize(("messages", "status"), HISTORIES.values(), ids=HISTORIES)
def test_what_the_engine_refuses_in_a_history(
    engine: httpx.Client, messages: list[dict[str, Any]], status: int
) -> None:
    assert raw(engine, messages=messages).status_code == status
    answered(engine, messages=messages)


class TestRefusals:
    def test_an_image_for_a_text_only_model(self, engine: httpx.Client) -> None:
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        error = refused(sent(engine, messages=[{"role": "user", "content": [part]}]))
        assert (error.param, error.code) == ("messages", "unsupported_content")
        assert error.message == "The model does not take image input."

    def test_a_context_too_small(self, engine: httpx.Client) -> None:
        error = refused(sent(engine, messages=[{"role": "user", "content": "hello " * 5000}]))
        assert (error.param, error.code) == ("messages", "context_length_exceeded")

    def test_a_schema_that_the_engine_cannot_read(self, engine: httpx.Client) -> None:
        for schema, words in (
            ({"properties": {"a": {"items": True}}}, "#/properties/a/items: schema must be an object"),
            ({"type": "string", "pattern": "^(a$"}, "unbalanced parentheses"),
        ):
            error = refused(sent(engine, **form(schema)))
            assert (error.param, error.code) == ("response_format", "invalid_json_schema")
            assert words in error.message

    def test_a_grammar_that_the_engine_cannot_read(self, engine: httpx.Client) -> None:
        for request in ({"grammar": "root ::= ("}, form({"type": "string", "minLength": 3000})):
            assert refused(sent(engine, **request)).code == "invalid_grammar"

    def test_arguments_and_tools_that_the_engine_cannot_read(self, engine: httpx.Client) -> None:
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
        history = [HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}, {**HELLO}]
        assert refused(raw(engine, messages=history)).param == "messages"
        assert refused(raw(engine, tools=[{"type": "custom", "custom": {"name": "x"}}])).param == "tools"
        assert refused(raw(engine, tools=[tool("f")], grammar='root ::= "a"')).param == "grammar"


def form(schema: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
    json_schema = {"name": "x", "schema": schema, "strict": strict}
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


#: Cases of `FINE` that seldom end by themselves, or are not enforced in full but checked afterwards.
GO_ON = {"anything", "bounds", "patterns", "tree", "unknown words"}


@pytest.mark.parametrize("name", [name for name in FINE if "refuses itself" not in name])
def test_what_is_enforced_is(engine: httpx.Client, name: str) -> None:
    """Random weights at a high temperature: what comes to an end fits."""
    ended = 0
    for seed in range(6):
        wild = {"temperature": 3, "top_k": 0, "min_p": 0, "max_tokens": 30, "seed": seed}
        response = raw(engine, **wild, **form(FINE[name]))
        assert response.status_code == 200, response.text
        choice = response.json()["choices"][0]
        if choice["finish_reason"] == "stop" and name != "bounds":
            ended += 1
            assert conforms(FINE[name], choice["message"]["content"]), choice["message"]["content"]
    assert ended or name in GO_ON


@pytest.mark.parametrize("word", sorted(LEFT_OUT))
def test_what_is_left_out_is_left_out_without_a_word(engine: httpx.Client, word: str) -> None:
    """Where this fails, the engine has learnt something, and `LEFT_OUT` can be shorter."""
    response = raw(engine, **form({"type": "object", "properties": {"a": {"const": 1}}, word: {"zebra": "-"}}))
    assert response.status_code == 200


@pytest.mark.parametrize("name", [name for name in MISREAD if name != "empty range"])
def test_what_would_be_misread_gets_no_refusal_from_the_engine(engine: httpx.Client, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be enforced"):
        check_schema(MISREAD[name])
    assert raw(engine, **form(MISREAD[name]), max_tokens=2).status_code != 400


def test_a_strict_stream_ends_in_success(engine: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["red", "blue"]}}, "required": ["a"]}
    request = {**BASE, **form(schema, strict=True), "max_tokens": 60, "stream": True}
    guard = ChatGuard(parse_chat(json.dumps(request).encode()), "b")
    with engine.stream("POST", "/v1/chat/completions", json=request) as response:
        stream = b"".join(guard.feed(chunk) for chunk in response.iter_bytes()) + guard.end()
    chunks = [json.loads(line[6:]) for line in stream.removesuffix(DONE).split(b"\n\n") if line]
    assert chunks[0]["choices"][0]["delta"]["content"] == ""
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert json.loads(text)["a"] in {"red", "blue"}
