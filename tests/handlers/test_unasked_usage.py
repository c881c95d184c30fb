"""Servers that tell the tokens of a stream only where somebody asks, as all but llama.cpp do: we ask, where we may."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import behaviours as behave
from tests.fakes.llama import FakeLlama

CHAT = "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "stream": True},
    "/v1/completions": {"model": "fake-model", "prompt": "hello", "stream": True},
}
USAGE = {"prompt_tokens": 5000, "completion_tokens": 6, "total_tokens": 5006}
ASKED = {"stream_options": {"include_usage": True}}
HEAD = {"id": "1", "created": 1, "model": "fake-model"}


async def answer(exchange) -> None:
    """As vLLM does: no timings, and usage in a last chunk where it was requested."""
    options = exchange.request.body.get("stream_options") or {}
    texts = [{"text": "hi", "delta": {"content": "hi"}}, {"text": "", "delta": {}, "finish_reason": "stop"}]
    events = [{**HEAD, "choices": [{"index": 0, **text}]} for text in texts]
    events += [{**HEAD, "choices": [], "usage": USAGE}] * bool(options.get("include_usage"))
    await behave.stream([*map(behave.event, events), behave.DONE])(exchange)


@pytest.fixture
def owners() -> list[Any]:
    return ["vllm"]


@pytest.fixture
def fake(fake: FakeLlama, owners: list[Any]) -> FakeLlama:
    models = [{"id": "fake-model" if index == 0 else "other", "owned_by": one} for index, one in enumerate(owners)]
    fake.routes["/v1/models"] = lambda exchange: exchange.send_json(200, {"object": "list", "data": models})
    fake.behave(answer)
    return fake


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stream_options": None},
        {"stream_options": {"include_usage": False}},
        {"stream_options": {"include_obfuscation": False}},
        {"min_p": 0.1},
        {"stop": [""]},
        {"model": "default"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", BODIES)
async def test_all_tokens_of_a_stream_are_recorded(client, fake, records, path: str, options: dict[str, Any]) -> None:
    response = await client.post(path, json={**BODIES[path], **options})
    assert response.text.count("data: ") == 3
    assert response.text.endswith("data: [DONE]\n\n")
    assert "usage" not in response.text
    (record,) = records
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (5000, 6, False)
    sent = fake.requests[-1].body
    assert sent["stream_options"] == {**(options.get("stream_options") or {}), "include_usage": True}
    assert (sent["model"], sent.get("min_p")) == ("fake-model", options.get("min_p"))


@pytest.mark.parametrize("path", BODIES)
async def test_who_asks_is_told(client, fake, path: str) -> None:
    response = await client.post(path, json={**BODIES[path], **ASKED})
    assert response.text.count('"total_tokens":5006') == 1
    assert response.text.endswith("data: [DONE]\n\n")


async def test_of_several_answers_all_tokens_are_recorded(client, fake, records) -> None:
    both = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in range(2)]
    events = [{**HEAD, "choices": both}, {**HEAD, "choices": [], "usage": USAGE}]
    fake.script = [behave.stream([*map(behave.event, events), behave.DONE])]
    response = await client.post(CHAT, json={**BODIES[CHAT], "n": 2})
    assert "usage" not in response.text
    assert (records[0].prompt_tokens, records[0].completion_tokens) == (5000, 6)


async def test_of_several_that_are_asked_for_one_by_one_too(client, fake, records) -> None:
    fake.script = [behave.status(400, {"error": {"code": 400, "message": "Field 'n': Value must be <= 1"}})]
    response = await client.post(CHAT, json={**BODIES[CHAT], "n": 2})
    assert response.text.endswith("data: [DONE]\n\n")
    assert "usage" not in response.text
    assert (records[0].prompt_tokens, records[0].completion_tokens) == (5000, 12)


@pytest.mark.parametrize(
    ("owners", "asks"),
    [(["llamacpp"], False), (["llamacpp", "llamacpp"], False), (["llamacpp", "vllm"], True), ([None], True)],
    ids=str,
)
@pytest.mark.parametrize("path", BODIES)
async def test_llama_cpp_tells_unasked_and_gets_what_the_caller_sent(client, fake, path: str, asks: bool) -> None:
    await client.post(path, json=BODIES[path])
    assert fake.requests[-1].body == {**BODIES[path], **(ASKED if asks else {})}


#: How strict servers refuse a field that they do not know: status and body.
REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "OpenAI's shape": (400, {"error": {"message": "Unknown parameter.", "param": "stream_options", "code": None}}),
    "pydantic 1": (422, {"detail": [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted"}]}),
    "inside a message": (
        422,
        {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}},
    ),
    "what is in it": (400, {"error": "include_usage: extra fields not permitted"}),
}


def strict(refusal: tuple[int, dict[str, Any]] = REFUSALS["pydantic 1"]) -> behave.Behaviour:
    async def answer_if_known(exchange) -> None:
        if "stream_options" in exchange.request.body:
            await exchange.send_json(*refusal)
        else:
            await answer(exchange)

    return answer_if_known


def sent(fake: FakeLlama) -> list[Any]:
    """The `stream_options` of all streams that were asked for."""
    return [request.body.get("stream_options") for request in fake.requests if request.streams]


@pytest.mark.parametrize("more", [{}, {"stream": False}, {"min_p": 0.1}, {"stop": [""], "stream": False}], ids=str)
@pytest.mark.parametrize("path", BODIES)
async def test_a_server_that_knows_no_such_field_is_asked_without(
    client, fake, records, extension, path: str, more
) -> None:
    fake.behave(strict())
    for _ in range(2):
        response = await client.post(path, json={**BODIES[path], **more})
        assert response.status_code == 200, response.text
        assert "hi" in response.text
    assert sent(fake) == [ASKED["stream_options"], None, None]
    assert fake.requests[-1].body.get("min_p") == more.get("min_p")
    # The events that came, as of any server that tells nothing.
    assert [(record.completion_tokens, record.estimated) for record in records] == [(2, True)] * 2
    # The refusal was let go of, too.
    assert extension.gateway.upstream._transports._plain._in_use == set()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_so_it_is_however_the_server_says_it(client, fake, refusal) -> None:
    fake.behave(strict(refusal))
    assert (await client.post(CHAT, json=BODIES[CHAT])).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "body"), [("/api/chat", {"messages": BODIES[CHAT]["messages"]}), ("/api/generate", {"prompt": "hello"})]
)
async def test_ollamas_dialect_gets_its_answers_too(client, fake, path: str, body: dict[str, Any]) -> None:
    fake.behave(strict())
    for _ in range(2):
        response = await client.post(path, json={"model": "fake-model", "stream": False, **body})
        assert response.json()["done"] is True
    assert sent(fake) == [ASKED["stream_options"], None, None]


async def test_of_a_strict_server_several_can_be_had(client, fake) -> None:
    async def one_at_a_time(exchange) -> None:
        if exchange.request.body.get("n", 1) > 1:
            await exchange.send_json(400, {"error": {"code": 400, "message": "Field 'n': Value must be <= 1"}})
        else:
            await strict()(exchange)

    fake.behave(one_at_a_time)
    response = await client.post(CHAT, json={**BODIES[CHAT], "stream": False, "n": 2})
    assert [choice["message"]["content"] for choice in response.json()["choices"]] == ["hi", "hi"]


@pytest.mark.parametrize("options", [{"include_usage": True}, {"include_usage": False}, {"x": 1}], ids=str)
async def test_what_the_caller_asks_itself_is_refused_and_says_nothing_of_ours(client, fake, error_of, options) -> None:
    fake.behave(strict((422, {"error": {"message": "extra fields not permitted", "param": "stream_options"}})))
    response = await client.post(CHAT, json={**BODIES[CHAT], "stream_options": options})
    assert response.status_code == 422
    assert error_of(response)["param"] == "stream_options"
    fake.requests.clear()
    fake.behave(answer)
    await client.post(CHAT, json=BODIES[CHAT])
    assert sent(fake) == [ASKED["stream_options"]]


async def test_another_refusal_is_the_callers_at_once(client, fake) -> None:
    fake.behave(behave.status(400, {"error": {"message": "min_p: extra fields not permitted"}}))
    response = await client.post(CHAT, json={**BODIES[CHAT], "min_p": 0.1})
    assert (response.status_code, len(sent(fake))) == (400, 1)


@pytest.mark.parametrize("owners", [["vllm", "vllm"]], ids=["a router"])
async def test_of_several_models_only_the_one_that_refuses_is_asked_without(client, fake, records) -> None:
    async def route(exchange) -> None:
        await (strict() if exchange.request.body["model"] == "other" else answer)(exchange)

    fake.behave(route)
    for model in ("other", "fake-model", "other"):
        response = await client.post(CHAT, json={**BODIES[CHAT], "model": model})
        assert response.text.endswith("data: [DONE]\n\n")
    assert sent(fake) == [ASKED["stream_options"], None, ASKED["stream_options"], None]
    assert [record.estimated for record in records] == [True, False, True]


async def test_a_server_that_lists_others_is_asked_again(client, fake) -> None:
    fake.behave(strict())
    await client.post(CHAT, json=BODIES[CHAT])
    fake.behave(answer)
    await client.get("/v1/models?refresh=true")
    await client.post(CHAT, json=BODIES[CHAT])
    other = {"object": "list", "data": [{"id": "fake-model", "owned_by": "another"}]}
    fake.routes["/v1/models"] = lambda exchange: exchange.send_json(200, other)
    await client.get("/v1/models?refresh=true")
    await client.post(CHAT, json=BODIES[CHAT])
    assert sent(fake) == [ASKED["stream_options"], None, None, ASKED["stream_options"]]
