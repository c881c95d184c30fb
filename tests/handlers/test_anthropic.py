"""``/v1/messages`` by Anthropic's SDK: the engine in the box, and a backend that fails on command."""

import json
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, ModelInfo, RawMessageStreamEvent
from pydantic import TypeAdapter

from tests.fakes import behaviours as behave
from tests.handlers.aliases import create

PATH = "/v1/messages"
HI: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather.",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
}
# Random weights would never begin a call by themselves; the tools' grammar goes on from here.
BEGUN: Any = [*HI, {"role": "assistant", "content": "<tool_call>"}]
# The SDK no longer has parameters for these.
GREEDY = {"temperature": 0, "top_k": 1}
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


@pytest.fixture
def sdk(server_url, token, jp_asyncio_loop):
    sdk = anthropic.AsyncAnthropic(base_url=server_url, api_key=token, max_retries=0, timeout=60)
    yield sdk
    jp_asyncio_loop.run_until_complete(sdk.close())


def anthropic_error(response: httpx.Response) -> dict[str, Any]:
    """The error of an answer, checked for Anthropic's keys and for what must never be in it."""
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    assert body["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    for internal in ("127.0.0.1", "http://", "backend-secret", "Traceback"):
        assert internal not in response.text
    return body["error"]


class TestEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_a_message(self, sdk) -> None:
        message = await sdk.messages.create(
            model="tiny-random", max_tokens=8, messages=HI, system="Be brief.", extra_body=GREEDY
        )
        Message.model_validate(message.to_dict(), strict=False)
        (block,) = message.content
        assert len(block.text.split()) >= 3
        assert (message.stop_reason, message.model, message.id[:4]) == ("max_tokens", "tiny-random", "msg_")
        assert message.usage.output_tokens == 8
        assert message._request_id.startswith("req_")

    async def test_the_list_of_models(self, sdk) -> None:
        page = await sdk.models.list()
        models = {model.id: model async for model in page}
        for model in models.values():
            ModelInfo.model_validate(model.to_dict(), strict=False)
        one = await sdk.models.retrieve("tiny-random")
        assert (one.type, one.display_name, one.lifecycle) == ("model", "tiny-random", "active")
        assert one.created_at.timestamp() == one.created
        assert one.max_input_tokens == one.meta["n_ctx"] > 0
        assert "tiny-random" in models
        assert (page.has_more, [page.first_id, page.last_id]) == (False, [page.data[0].id, page.data[-1].id])

    async def test_a_model_that_is_not_there_is_told_as_all_of_anthropics_errors(self, sdk, client) -> None:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await sdk.models.retrieve("nope")
        assert (caught.value.type, str(caught.value.request_id)[:4]) == ("not_found_error", "req_")
        answer = await client.get("/v1/models/nope", headers={"anthropic-version": "2023-06-01"})
        assert "'nope' does not exist" in anthropic_error(answer)["message"]
        assert set((await client.get("/v1/models/nope")).json()["error"]) == {"message", "type", "param", "code"}

    async def test_models_are_openais_for_all_others_and_take_the_key_of_both(self, server_url, token) -> None:
        async with httpx.AsyncClient(base_url=server_url, headers={"x-api-key": token}, trust_env=False) as client:
            for path in ("/v1/models", "/v1/models/tiny-random"):
                answer = await client.get(path)
                assert answer.status_code == 200
                assert not {"has_more", "type", "display_name"} & set(answer.json())

    async def test_a_stream_says_the_same(self, sdk) -> None:
        body: dict[str, Any] = {"model": "tiny-random", "max_tokens": 8, "messages": HI, "extra_body": GREEDY}
        whole = await sdk.messages.create(**body)
        async with sdk.messages.stream(**body) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        assert text == final.content[0].text == whole.content[0].text
        assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 8)
        events = [event async for event in await sdk.messages.create(**body, stream=True)]
        for event in events:
            EVENT.validate_python(event.to_dict(), strict=False)
        assert [event.type for event in events if event.type != "content_block_delta"] == [
            "message_start",
            "content_block_start",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]

    async def test_tools(self, sdk) -> None:
        body: dict[str, Any] = {"model": "tiny-random", "max_tokens": 60, "tools": [WEATHER]}
        forced = {"messages": BEGUN, "tool_choice": {"type": "tool", "name": "weather"}}
        message = await sdk.messages.create(**body, **forced)
        call = message.content[0]
        assert (call.type, call.name) == ("tool_use", "weather")
        assert call.input["city"] in {"Oslo", "Rome"}
        async with sdk.messages.stream(**body, **forced) as stream:
            final = await stream.get_final_message()
        assert final.content[0].input["city"] in {"Oslo", "Rome"}
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        history = [*HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        assert (await sdk.messages.create(**{**body, "max_tokens": 5}, messages=history)).content

    async def test_a_result_comes_before_what_is_said_with_it(self, sdk, client, model) -> None:
        late = "messages[-1].role == 'tool' and messages[-2].role == 'user'"
        template = "{%- if " + late + " -%}{{ raise_exception('a late result') }}{%- endif -%}"
        template += "{{ messages | map(attribute='role') | join(' ') }} {{ tools }}"
        await create(client, "strict", f"{model}.gguf", context_params={"chat_template": template})
        call: Any = {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Oslo"}}
        result: Any = {"type": "tool_result", "tool_use_id": "a", "content": "sunny"}
        said: Any = {"type": "text", "text": "And now?"}
        history: Any = [
            *HI,
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result, said]},
        ]
        assert (await sdk.messages.create(model="strict", max_tokens=3, messages=history, tools=[WEATHER])).content

    async def test_tokens_are_counted_as_the_message_has_them(self, sdk) -> None:
        short = await sdk.messages.count_tokens(model="tiny-random", messages=HI)
        more: Any = {"system": "one two three", "tools": [WEATHER]}
        long = await sdk.messages.count_tokens(model="tiny-random", messages=HI, **more)
        assert long.input_tokens > short.input_tokens + 20
        message = await sdk.messages.create(model="tiny-random", max_tokens=1, messages=HI)
        usage = message.usage
        assert usage.input_tokens + usage.cache_read_input_tokens == short.input_tokens

    async def test_too_long_a_prompt(self, sdk) -> None:
        long: Any = [{"role": "user", "content": "hello " * 9000}]
        with pytest.raises(anthropic.BadRequestError) as caught:
            await sdk.messages.create(model="tiny-random", max_tokens=5, messages=long)
        assert caught.value.type == "invalid_request_error"
        assert "prompt is too long" in caught.value.api_message

    async def test_an_image_for_a_model_that_takes_none(self, sdk) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
        image: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        with pytest.raises(anthropic.BadRequestError):
            await sdk.messages.create(model="tiny-random", max_tokens=5, messages=image)


# -- who is asking -------------------------------------------------------------------------------------------------

BODY: dict[str, Any] = {"model": "fake-model", "max_tokens": 9, "messages": HI}


def event(data: dict[str, Any]) -> bytes:
    return b"event: %b\n" % data["type"].encode() + behave.event(data)


START = event({"type": "message_start", "message": {"id": "chatcmpl-1", "role": "assistant", "type": "message"}})
EVENTS = [
    START,
    event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
    event({"type": "content_block_stop", "index": 0}),
    event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        }
    ),
    event({"type": "message_stop"}),
]


@pytest.fixture
def stranger(server_url, jp_asyncio_loop):
    """A client without a key."""
    client = httpx.AsyncClient(base_url=server_url, timeout=30, trust_env=False)
    yield client
    jp_asyncio_loop.run_until_complete(client.aclose())


async def test_the_servers_token_in_anthropics_header(stranger, fake, token) -> None:
    fake.script = [behave.stream(EVENTS)]
    headers = {"x-api-key": token, "anthropic-version": "1999-01-01"}
    response = await stranger.post(PATH, json=BODY, headers=headers)
    assert response.status_code == 200
    received = fake.requests[-1].headers
    assert received["authorization"] == "Bearer backend-secret"
    assert not {"x-api-key", "anthropic-version"} & set(received)


async def test_a_scoped_key_in_anthropics_header(stranger, fake, extension) -> None:
    key = extension.gateway.keys.mint("kernel:1")
    fake.script = [behave.stream(EVENTS)]
    assert (await stranger.post(PATH, json=BODY, headers={"x-api-key": key})).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "wrong"}, {"x-api-key": ""}, {"Authorization": "Bearer wrong"}, {"Cookie": "a=b"}]
)
async def test_others_are_401_in_anthropics_shape(stranger, fake, headers) -> None:
    for response in (
        await stranger.post(PATH, json=BODY, headers=headers),
        await stranger.post(f"{PATH}/count_tokens", json=BODY, headers=headers),
        await stranger.get(f"{PATH}/batches", headers=headers),
    ):
        assert response.status_code == 401
        assert anthropic_error(response)["type"] == "authentication_error"
    assert not [request for request in fake.requests if request.method == "POST"]


async def test_a_bearer_key_wins_over_anthropics_header(stranger, token) -> None:
    headers = {"x-api-key": token, "Authorization": "Bearer wrong"}
    assert (await stranger.post(PATH, json=BODY, headers=headers)).status_code == 401


async def test_anthropics_header_opens_no_other_route(stranger, token) -> None:
    for path, status in (("/v1/responses/x", 401), ("/api/status", 403)):  # the other is Jupyter's
        assert (await stranger.get(path, headers={"x-api-key": token})).status_code == status


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"max_tokens": None}, "max_tokens: "),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ({"temperature": 3}, "temperature: "),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type: "),
    ],
)
async def test_a_bad_request_names_its_field_and_never_reaches_the_backend(client, fake, more, words) -> None:
    body = {key: value for key, value in {**BODY, **more}.items() if value is not None}
    response = await client.post(PATH, json=body)
    assert response.status_code == 400
    error = anthropic_error(response)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(words)
    assert not [request for request in fake.requests if request.method == "POST"]


async def test_errors_by_status(client, fake, sdk) -> None:
    assert anthropic_error(await client.get(PATH))["type"] == "invalid_request_error"
    unknown = await client.post(f"{PATH}/batches", json={})
    assert (unknown.status_code, anthropic_error(unknown)["type"]) == (404, "not_found_error")
    large = await client.post(PATH, content=b" " * 100_001)
    assert (large.status_code, anthropic_error(large)["type"]) == (413, "request_too_large")
    assert anthropic_error(await client.post(PATH, content=b"{"))["type"] == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError) as missing:
        await sdk.messages.create(**{**BODY, "model": "claude"})
    assert (missing.value.type, missing.value.request_id[:4]) == ("not_found_error", "req_")


@pytest.mark.parametrize(
    ("behaviour", "error", "kind"),
    [
        (behave.status(429), anthropic.RateLimitError, "rate_limit_error"),
        (behave.status(503), anthropic.ServiceUnavailableError, "overloaded_error"),
        (behave.status(500), anthropic.InternalServerError, "api_error"),
        (behave.status(404, {"error": {"message": "File Not Found"}}), anthropic.HTTPNotImplementedError, "api_error"),
        (behave.stall_before_headers(), anthropic.GatewayTimeoutError, "timeout_error"),
        (behave.non_json_answer(), anthropic.InternalServerError, "api_error"),
    ],
)
async def test_a_backend_that_refuses(sdk, fake, client, behaviour, error, kind) -> None:
    await client.get("/v1/models")
    for call in (sdk.messages.create, sdk.messages.count_tokens):
        fake.script = [behaviour] * 2
        body = {key: BODY[key] for key in ("model", "messages")} if call == sdk.messages.count_tokens else BODY
        with pytest.raises(error) as caught:
            await call(**body)
        assert caught.value.type == kind


BROKEN = {
    "ends early": EVENTS[:3],
    "ends in the middle of an event": [*EVENTS[:3], EVENTS[4][:40]],
    "stops without a reason": [*EVENTS[:4], EVENTS[5]],
    "sends garbage": [*EVENTS[:3], b"data: {oops\n\n", *EVENTS[3:]],
    "reports an error": [*EVENTS[:3], behave.event({"error": {"code": 500, "message": "boom"}})],
}


@pytest.mark.parametrize("events", BROKEN.values(), ids=BROKEN)
async def test_a_stream_that_fails_raises_in_the_sdk_and_never_stops_well(sdk, fake, events) -> None:
    fake.script = [behave.stream(events)] * 3
    kinds = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        async for one in await sdk.messages.create(**BODY, stream=True):
            kinds += [one.type]
    assert caught.value.type == "api_error"
    assert "message_stop" not in kinds
    with pytest.raises(anthropic.APIStatusError):
        async with sdk.messages.stream(**BODY) as stream:
            await stream.get_final_message()
    with pytest.raises(anthropic.InternalServerError) as failed:
        await sdk.messages.create(**BODY)
    assert failed.value.status_code == 502


async def test_the_error_event_is_the_only_end(client, fake) -> None:
    fake.script = [behave.stream(EVENTS[:3])]
    text = (await client.post(PATH, json={**BODY, "stream": True})).text
    assert text.count("event: error\n") == 1
    last = json.loads(text.rsplit("data: ", 1)[1])
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert last["request_id"].startswith("req_")


# -- what is forwarded ---------------------------------------------------------------------------------------------


async def test_the_callers_bytes_are_forwarded_where_nothing_changes(client, fake) -> None:
    fake.script = [behave.stream(EVENTS)]
    raw = b'{ "model":"fake-model","max_tokens":9,"stream":true, "messages":[{"role":"user","content":"\\u00e9"}] }'
    response = await client.post(PATH, content=raw)
    assert int(fake.requests[-1].headers["content-length"]) == len(raw)
    assert response.text.count("event: message_stop\n") == 1


async def test_a_whole_answer_is_asked_for_as_a_stream_and_recorded(client, fake, caplog) -> None:
    start = {"type": "message_start", "message": {"id": "chatcmpl-1", "usage": {"input_tokens": 2, "x": 1}}}
    fake.script = [behave.stream([event(start), *EVENTS[1:]])]
    message = (await client.post(PATH, json={**BODY, "metadata": {"user_id": "u"}})).json()
    assert message["content"] == [{"type": "text", "text": "hi"}]
    assert fake.requests[-1].body == {**BODY, "stream": True}
    assert "prompt_tokens=2 completion_tokens=1" in caplog.text


async def test_tokens_that_are_only_counted_are_not_used(client, fake, records) -> None:
    fake.script = [lambda exchange: exchange.send_json(200, {"input_tokens": 5000})]
    assert (await client.post(f"{PATH}/count_tokens", json=BODY)).json() == {"input_tokens": 5000}
    assert [record.tokens for record in records] == [0]


async def test_tokens_that_were_not_counted_are_a_failure(client, fake) -> None:
    async def no_count(exchange) -> None:
        await exchange.send_json(200, {"tokens": 3})

    fake.script = [no_count]
    response = await client.post(f"{PATH}/count_tokens", json=BODY)
    assert (response.status_code, anthropic_error(response)["type"]) == (502, "api_error")
