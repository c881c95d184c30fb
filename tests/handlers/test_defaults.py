"""An alias's defaults: put right as what a caller says, in every dialect alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes import behaviours as behave
from tests.fakes.bodies import GOOD, HELLO
from tests.handlers.aliases import create

CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}

RESPONSES = "/v1/responses"
SCHEMA = {"type": "object", "properties": {"ok": {"type": "integer", "multipleOf": 5}}, "required": ["ok"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}


@pytest.fixture
def alias(client):
    """Makes the alias ``mine`` of the scripted backend's model."""

    async def made(**params: Any) -> None:
        (model,) = [one for one in (await client.get("/v1/models")).json()["data"] if one["id"] == "fake-model"]
        body = {"alias": "mine", "backend": model["meta"]["backend"], "model": "fake-model", "request_params": params}
        response = await client.post("/bodhi/v1/aliases", json=body)
        assert response.status_code == 201, response.text

    return made


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses", "/v1/messages", "/api/chat"])
async def test_what_would_be_taken_amiss_is_not_forwarded(client, fake, alias, path: str) -> None:
    await alias(stop="", user="ann", logit_bias={"five": 1}, top_k=7)
    await client.post(path, json={**GOOD.get(path, GOOD[CHAT]), "model": "mine"})
    sent = fake.requests[-1].body
    assert sent["top_k"] == 7
    assert "user" not in sent
    assert not sent.get("stop")
    assert not sent.get("stop_sequences")
    assert not sent.get("logit_bias")


async def test_tools_of_chats_are_no_tools_of_responses(client, fake, alias) -> None:
    await alias(tools=[TOOL], tool_choice="auto", parallel_tool_calls=False)
    assert (await client.post(CHAT, json={"model": "mine", "messages": [HELLO]})).status_code == 200
    assert fake.requests[-1].body["tools"] == [TOOL]
    await client.post(RESPONSES, json={"model": "mine", "input": "hello"})
    assert "input" in fake.requests[-1].body
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & fake.requests[-1].body.keys()


async def test_a_response_that_has_to_be_a_call_has_no_format_of_its_text(client, fake, alias) -> None:
    await alias(response_format={"type": "json_object"})
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    for choice, formatted in (("auto", True), ("required", False)):
        await client.post(RESPONSES, json={"model": "mine", "input": "x", "tools": [tool], "tool_choice": choice})
        assert ("response_format" in fake.requests[-1].body) is formatted


async def test_log_probabilities_of_chats_are_as_if_the_caller_had_requested_them(client, fake, alias) -> None:
    await alias(logprobs=True)
    body = {"model": "mine", "messages": [HELLO]}
    assert (await client.post(CHAT, json=body)).status_code == 200
    assert (fake.requests[-1].body["top_logprobs"], fake.requests[-1].body["stream"]) == (1, True)
    assert (await client.post(CHAT, json={**body, "tools": [TOOL]})).status_code == 200
    assert "stream" not in fake.requests[-1].body  # llama.cpp refuses it with both
    await client.post("/v1/responses", json={"model": "mine", "input": "hello"})
    assert "logprobs" not in fake.requests[-1].body


async def test_messages_are_given_the_defaults_that_are_documented(client, fake, alias) -> None:
    known = {"temperature": 0.5, "top_p": 0.5, "top_k": 7, "chat_template_kwargs": {"a": 1}}
    await alias(**known, stop="x", system_prompt="Be brief.", seed=1, min_p=0.1, max_tokens=3, logit_bias={"5": 1})
    body = GOOD["/v1/messages"]
    await client.post("/v1/messages", json={**body, "model": "mine"})
    more = {"stream": True, "stop_sequences": ["x"], "system": "Be brief."}
    assert fake.requests[-1].body == {**body, **known, **more}


@pytest.mark.parametrize(("more", "limit"), [({}, 9), ({"max_output_tokens": 4}, 4), ({"max_tokens": 4}, None)])
async def test_the_callers_limit_of_a_response_wins_under_any_name(client, fake, alias, more, limit) -> None:
    await alias(max_tokens=9)
    await client.post(RESPONSES, json={**GOOD[RESPONSES], "model": "mine", **more})
    assert fake.requests[-1].body.get("max_output_tokens") == limit


async def test_what_the_caller_says_of_thinking_wins(client, fake, alias) -> None:
    await alias(chat_template_kwargs={"enable_thinking": True})
    for more, thinks in (({}, True), ({"reasoning_effort": "none"}, False)):
        assert (await client.post(CHAT, json={"model": "mine", "messages": [HELLO], **more})).status_code == 200
        assert fake.requests[-1].body["chat_template_kwargs"] == {"enable_thinking": thinks}


@pytest.mark.parametrize(
    ("path", "more", "said"),
    [
        (CHAT, {"reasoning_effort": "none"}, {"enable_thinking": False}),
        ("/api/chat", {"think": "low"}, {"enable_thinking": True, "reasoning_effort": "low"}),
        ("/v1/messages", {"thinking": {"type": "disabled"}}, {"enable_thinking": False}),
        (RESPONSES, {"chat_template_kwargs": {"b": 2}}, {"b": 2}),
    ],
)
async def test_what_the_caller_says_to_a_template_leaves_an_aliass_other_words(
    client, fake, alias, path, more, said
) -> None:
    await alias(chat_template_kwargs={"preserve_thinking": True})
    await client.post(path, json={**GOOD.get(path, GOOD[CHAT]), "model": "mine", **more})
    assert fake.requests[-1].body["chat_template_kwargs"] == {"preserve_thinking": True, **said}


async def test_a_default_that_contradicts_the_request_is_named_as_one(client, fake, alias, error_of) -> None:
    await alias(top_logprobs=3)
    error = error_of(response := await client.post(CHAT, json={"model": "mine", "messages": [HELLO]}))
    assert (response.status_code, error["param"]) == (400, "top_logprobs")
    assert "defaults of the alias 'mine'" in error["message"]
    assert (await client.post(CHAT, json={"model": "mine", "messages": [HELLO], "logprobs": True})).status_code == 200


# -- how many answers, and what belongs to one kind of request -------------------------------------------------------

COMPLETIONS = "/v1/completions"
PROMPT = {"model": "mine", "prompt": "x"}
#: Requests that are answered once, whatever an alias says.
SINGLE: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"messages": [HELLO]}),
    ("/api/generate", {"prompt": "x"}),
    ("/api/generate", {"prompt": "x", "raw": True}),
    ("/api/generate", {"prompt": "x", "suffix": "y"}),
    (RESPONSES, {"input": "x"}),
]


@pytest.mark.parametrize(("path", "body"), SINGLE)
@pytest.mark.parametrize("several", ["n", "n_cmpl"])
async def test_who_cannot_have_several_answers_gets_one(client, fake, alias, path, body, several) -> None:
    await alias(**{several: 2}, logprobs=True, top_logprobs=2, n_probs=2, top_k=7)
    await client.post(path, json={**body, "model": "mine"})
    sent = next(request.body for request in reversed(fake.requests) if request.path in GENERATING)
    assert sent["top_k"] == 7
    assert not {"n", "n_cmpl", "logprobs", "top_logprobs", "n_probs"} & sent.keys()


def completed(*indices: int) -> behave.Behaviour:
    """As many texts, told by turns."""
    parts = ({"text": "a", "finish_reason": None}, {"text": "b", "finish_reason": "stop"})
    chunks = [{"object": "text_completion", "choices": [{"index": one, **part}]} for part in parts for one in indices]
    return behave.stream([behave.event(chunk) for chunk in chunks])


async def test_several_completions_are_asked_for_as_the_caller_would(client, fake, alias) -> None:
    await alias(n=2)
    fake.script = [completed(1, 0)]
    answer = await client.post(COMPLETIONS, json=PROMPT)
    sent = fake.requests[-1].body
    assert (sent["prompt"], "n" in sent) == (["x", "x"], False)
    assert [choice["text"] for choice in answer.json()["choices"]] == ["ab", "ab"]


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": None, "top_logprobs": None}),
        ({"logprobs": 0}, {"logprobs": 1}),
        ({"logprobs": 3}, {"logprobs": 3}),
    ],
)
async def test_log_probabilities_of_completions_are_those_that_it_has(client, fake, alias, params, asked) -> None:
    await alias(**params)
    await client.post(COMPLETIONS, json=PROMPT)
    assert {key: fake.requests[-1].body.get(key) for key in asked} == asked


async def test_an_aliass_echo_repeats_the_prompt(client, fake, alias) -> None:
    await alias(echo=True)
    fake.script = [completed(0)]
    answer = await client.post(COMPLETIONS, json={**PROMPT, "prompt": "Once upon "})
    assert answer.json()["choices"][0]["text"] == "Once upon ab"
    assert "echo" not in fake.requests[-1].body


async def test_defaults_of_completions_that_contradict_each_other_are_named(client, fake, alias, error_of) -> None:
    await alias(n=3, best_of=2)
    error = error_of(response := await client.post(COMPLETIONS, json=PROMPT))
    assert (response.status_code, error["param"]) == (400, "best_of")
    assert "defaults of the alias 'mine'" in error["message"]
    assert (await client.post(COMPLETIONS, json={**PROMPT, "n": 1, "best_of": 1})).status_code == 200


WEATHER = {"type": "function", "function": {"name": "weather", "description": "w", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "params",
    [
        {"functions": [WEATHER["function"]]},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
    ],
)
async def test_what_ollamas_chats_have_no_place_for_is_refused(client, fake, alias, params) -> None:
    await alias(**params)
    body = {"model": "mine", "messages": [HELLO]}
    refused = await client.post("/api/chat", json={**body, "tools": [WEATHER]})
    assert refused.status_code == 400
    assert "defaults of the alias 'mine'" in refused.json()["error"]
    assert next(iter(params)) in refused.json()["error"]
    assert (await client.post("/api/chat", json={**body, "stream": False})).status_code == (
        200 if "tool_choice" in params else 400
    )


async def test_what_ollamas_caller_says_of_thinking_wins(client, fake, alias) -> None:
    await alias(reasoning_effort="none")
    for more, thinks in (({}, False), ({"think": True}, True), ({"think": False}, False)):
        await client.post("/api/chat", json={"model": "mine", "messages": [HELLO], **more})
        sent = fake.requests[-1].body
        assert sent["chat_template_kwargs"] == {"enable_thinking": thinks}
        assert sent.get("reasoning_effort") == (None if more else "none")


# -- the format of answers -----------------------------------------------------------------------------------------

#: A request that is no chat, and what is asked of the engine of an alias whose answers fit `SCHEMA`.
UNFORMATTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("/v1/completions", {"prompt": "x"}, {"json_schema": SCHEMA, "response_format": FORMAT}),
    ("/v1/completions", {"prompt": "x", "suffix": "y"}, {"json_schema": SCHEMA}),
    ("/v1/completions", {"prompt": "x", "grammar": "root ::= [a]"}, {"json_schema": None, "grammar": "root ::= [a]"}),
    ("/v1/completions", {"prompt": "x", "json_schema": {}}, {"json_schema": {}}),
    ("/v1/completions", {"prompt": "x", "response_format": {"type": "text"}}, {"json_schema": None}),
    ("/api/generate", {"prompt": "x", "raw": True}, {"json_schema": SCHEMA}),
    ("/api/generate", {"prompt": "x", "raw": True, "format": "json"}, {"json_schema": {"type": "object"}}),
    ("/api/generate", {"prompt": "x"}, {"json_schema": None, "response_format": FORMAT}),
    (RESPONSES, {"input": "x"}, {"response_format": FORMAT}),
    (RESPONSES, {"input": "x", "text": {"format": {"type": "text"}}}, {"response_format": None}),
    (
        RESPONSES,
        {"input": "x", "text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
    ),
    (RESPONSES, {"input": "x", "text": {"verbosity": "low"}}, {"response_format": FORMAT}),
]

#: Where the engine writes.
GENERATING = {CHAT, RESPONSES, "/v1/completions", "/infill"}


@pytest.mark.parametrize(("path", "body", "asked"), UNFORMATTED)
async def test_a_format_reaches_the_engine_in_words_that_it_obeys(
    client, fake, alias, path: str, body: dict[str, Any], asked: dict[str, Any]
) -> None:
    await alias(response_format=FORMAT)
    await client.post(path, json={**body, "model": "mine"})
    sent = next(request.body for request in reversed(fake.requests) if request.path in GENERATING)
    assert {key: sent.get(key) for key in asked} == asked


#: Requests that say a format in one of its names, and what is sent of all three.
FORMATTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (CHAT, {"messages": [HELLO], "response_format": FORMAT}, {"response_format": FORMAT}),
    (CHAT, {"messages": [HELLO], "json_schema": SCHEMA}, {"json_schema": SCHEMA}),
    (COMPLETIONS, {"prompt": "x", "json_schema": SCHEMA}, {"json_schema": SCHEMA}),
    (COMPLETIONS, {"prompt": "x", "response_format": FORMAT}, {"json_schema": SCHEMA, "response_format": FORMAT}),
    (COMPLETIONS, {"prompt": "x", "response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
    ("/api/chat", {"messages": [HELLO], "format": "json"}, {"response_format": {"type": "json_object"}}),
    ("/api/generate", {"prompt": "x", "raw": True, "format": SCHEMA}, {"json_schema": SCHEMA}),
    (RESPONSES, {"input": "x", "text": {"format": {"type": "text"}}}, {}),
    (RESPONSES, {"input": "x", "json_schema": SCHEMA}, {"json_schema": SCHEMA}),
    (RESPONSES, {"input": "x", "response_format": FORMAT}, {"response_format": FORMAT}),
]


@pytest.mark.parametrize(("path", "body", "asked"), FORMATTED)
async def test_the_callers_format_stands_alone_beside_an_aliass_grammar(client, fake, alias, path, body, asked) -> None:
    await alias(grammar="root ::= [a]", top_k=7)
    await client.post(path, json={**body, "model": "mine"})
    sent = next(request.body for request in reversed(fake.requests) if request.path in GENERATING)
    assert sent["top_k"] == 7
    assert {key: sent[key] for key in ("response_format", "json_schema", "grammar") if key in sent} == asked


@pytest.mark.parametrize("path", [CHAT, RESPONSES, COMPLETIONS])
async def test_a_callers_grammar_stands_alone_beside_an_aliass_schema(client, fake, alias, path: str) -> None:
    await alias(response_format=FORMAT, json_schema=SCHEMA)
    await client.post(path, json={**GOOD[path], "model": "mine", "grammar": "root ::= [a]"})
    sent = fake.requests[-1].body
    assert sent["grammar"] == "root ::= [a]"
    assert not {"response_format", "json_schema"} & sent.keys()


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_object", "schema": SCHEMA}, SCHEMA),
        ({"type": "json_schema", "json_schema": {"name": "a"}}, {}),
        ({"type": "text"}, None),
    ],
)
async def test_each_kind_of_format_is_a_schema_to_completions(client, fake, alias, wanted, schema) -> None:
    await alias(response_format=wanted)
    response = await client.post("/v1/completions", json={"model": "mine", "prompt": "x"})
    assert fake.requests[-1].body.get("json_schema") == schema
    # The answer is prose.
    assert response.status_code == (200 if schema is None else 502)


@pytest.mark.parametrize("path", ["/v1/completions", RESPONSES])
async def test_a_format_that_is_none_is_blamed_on_the_alias(client, fake, alias, error_of, path: str) -> None:
    await alias(response_format={"type": "json_object", "schema": {"type": "banana"}})
    error = error_of(response := await client.post(path, json={**GOOD[path], "model": "mine"}))
    assert (response.status_code, error["param"]) == (400, "response_format.schema")
    assert "defaults of the alias 'mine'" in error["message"]
    assert not [request for request in fake.requests if request.path == path]


async def test_a_schema_for_prompts_that_is_none_is_blamed_on_the_alias(client, fake, alias, error_of) -> None:
    await alias(json_schema={"type": "banana"})
    error = error_of(response := await client.post("/v1/completions", json={"model": "mine", "prompt": "x"}))
    assert (response.status_code, error["param"], error["code"]) == (400, "json_schema", "invalid_json_schema")
    assert "defaults of the alias 'mine'" in error["message"]
    raw = await client.post("/api/generate", json={"model": "mine", "prompt": "x", "raw": True})
    assert (raw.status_code, "defaults of the alias 'mine'" in raw.json()["error"]) == (400, True)
    assert not [request for request in fake.requests if request.path == "/v1/completions"]
    own = {"model": "mine", "prompt": "x", "json_schema": {"type": "integer"}}
    assert error_of(await client.post("/v1/completions", json=own))["code"] == "schema_mismatch"  # prose
    assert fake.requests[-1].body["json_schema"] == {"type": "integer"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("field", ["response_format", "json_schema", "grammar"])
async def test_what_the_engine_would_leave_out_of_a_message_is_refused(client, fake, alias, path, field) -> None:
    await alias(**{field: {"response_format": FORMAT, "json_schema": SCHEMA}.get(field, "root ::= [a]")})
    response = await client.post(path, json={**GOOD[path], "model": "mine"})
    message = response.json()["error"]["message"]
    assert (response.status_code, message.split(":")[0]) == (400, field)
    assert "defaults of the alias 'mine'" in message
    assert not [request for request in fake.requests if request.path == path]


async def test_a_format_that_is_none_is_refused_for_messages_too(client, fake, alias) -> None:
    await alias(response_format="json")
    answer = await client.post("/v1/messages", json={**GOOD["/v1/messages"], "model": "mine"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_text_is_no_constraint(client, fake, alias) -> None:
    await alias(response_format={"type": "text"})
    await client.post("/v1/messages", json={**GOOD["/v1/messages"], "model": "mine"})
    assert fake.requests[-1].path == "/v1/messages"


@pytest.mark.parametrize(("text", "status"), [('{"ok": 10}', 200), ('{"ok": 3}', 502)])
async def test_a_response_is_held_to_the_aliass_schema_and_says_so(client, fake, alias, text, status) -> None:
    await alias(response_format=FORMAT)
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "object": "response"}},
        {"type": "response.output_item.added", "item": item},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": text},
        {"type": "response.completed", "response": {"id": "resp_1", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    ]
    fake.script = [behave.stream([behave.event(one) for one in events])]
    response = await client.post(RESPONSES, json={"model": "mine", "input": "x"})
    assert response.status_code == status, response.text
    if status == 200:
        assert response.json()["text"]["format"] == {"type": "json_schema", **FORMAT["json_schema"]}
    else:
        assert response.json()["error"]["code"] == "schema_mismatch"


class TestEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_all_that_writes_obeys_the_aliass_format(self, client, model) -> None:
        ok = {"properties": {"ok": {"enum": [False]}}, "required": ["ok"]}
        schema = {"type": "object", **ok, "additionalProperties": False}
        wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
        options = {"response_format": wanted, "chat_template_kwargs": {"enable_thinking": False}}
        await create(client, "mine", f"{model}.gguf", request_params=options)

        async def answered(path: str, **body: Any) -> dict[str, Any]:
            response = await client.post(path, json={"model": "mine", **body})
            assert response.status_code == 200, response.text
            return response.json()

        response = await answered(RESPONSES, input="x")
        texts = [
            (await answered(CHAT, messages=[HELLO]))["choices"][0]["message"]["content"],
            (await answered("/v1/completions", prompt="x"))["choices"][0]["text"],
            (await answered("/api/generate", prompt="x", raw=True, stream=False))["response"],
            response["output"][-1]["content"][0]["text"],
        ]
        assert [json.loads(text) for text in texts] == [{"ok": False}] * 4
        assert response["text"]["format"]["name"] == "a"
