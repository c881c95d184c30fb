"""``/v1/responses`` by OpenAI's SDK: the engine in the box, and a backend that fails on command."""

import asyncio
import json
from typing import Any, Literal

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.fakes import behaviours as behave

PATH = "/v1/responses"
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
    "strict": True,
}
# Random weights would never begin a call by themselves; the tools' grammar goes on from here.
BEGUN: Any = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<tool_call>"}]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def strict(answer: Response) -> Response:
    """The answer, every field of which has the type that the spec gives it."""
    Response.model_validate(answer.to_dict(), strict=False)
    return answer


class TestEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_text(self, sdk) -> None:
        answer = strict(
            await sdk.responses.create(
                model="tiny-random",
                input="hello",
                instructions="Be brief.",
                max_output_tokens=8,
                temperature=0,
                metadata={"a": "b"},
            )
        )
        assert len(answer.output_text.split()) >= 3
        assert (answer.status, answer.model, answer.metadata) == ("incomplete", "tiny-random", {"a": "b"})
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.usage is not None
        assert answer.usage.output_tokens == 8
        assert answer.instructions == "Be brief."

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
    async def test_a_limit_in_the_words_of_chats_cuts_the_answer_too(self, sdk, name) -> None:
        answer = await sdk.responses.create(model="tiny-random", input="hello", temperature=0, extra_body={name: 3})
        assert answer.usage.output_tokens == 3
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")

    async def test_without_a_model_the_default_answers(self, sdk) -> None:
        answer = await sdk.responses.create(input="hello", max_output_tokens=2)
        assert answer.model == "tiny-random"

    async def test_a_stream_says_the_same_in_order(self, sdk) -> None:
        body: dict[str, Any] = {"model": "tiny-random", "input": "hello", "max_output_tokens": 8, "temperature": 0}
        whole = await sdk.responses.create(**body)
        events = [event async for event in await sdk.responses.create(**body, stream=True)]
        for event in events:
            EVENT.validate_python(event.to_dict(), strict=False)
        assert [event.type for event in events if event.type != "response.output_text.delta"] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == whole.output_text == strict(events[-1].response).output_text

    async def test_the_sdks_own_accumulation_works(self, sdk) -> None:
        body = {"grammar": "root ::= [a-z]{5}"}
        async with sdk.responses.stream(model="tiny-random", input="hello", extra_body=body) as stream:
            snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert final.status == "completed"
        assert snapshots[-1] == final.output_text
        assert len(final.output_text) == 5

    async def test_a_schema_is_enforced_and_parsed(self, sdk) -> None:
        class Colour(BaseModel):
            name: Literal["red", "blue"]
            dark: bool

        answer = await sdk.responses.parse(model="tiny-random", input="hello", text_format=Colour, temperature=0)
        assert isinstance(answer.output_parsed, Colour)
        answer = await sdk.responses.create(
            model="tiny-random", input="hello", text={"format": {"type": "json_object"}}, max_output_tokens=20
        )
        assert answer.output_text.lstrip().startswith("{")

    async def test_a_tool_round_trip(self, sdk) -> None:
        body: dict[str, Any] = {"model": "tiny-random", "tools": [WEATHER], "parallel_tool_calls": False}
        answer = strict(await sdk.responses.create(**body, input=BEGUN, tool_choice="required", max_output_tokens=200))
        (call,) = answer.output
        assert call.type == "function_call"
        assert (call.name, call.status, answer.status) == ("weather", "completed", "completed")
        assert json.loads(call.arguments)["city"] in {"Oslo", "Rome"}
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        answer = await sdk.responses.create(**body, input=[BEGUN[0], call, result], max_output_tokens=5)
        assert answer.output_text

    async def test_a_tool_call_streams(self, sdk) -> None:
        async with sdk.responses.stream(
            model="tiny-random", tools=[WEATHER], parallel_tool_calls=False, input=BEGUN, tool_choice="required"
        ) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        done = next(event for event in events if event.type == "response.function_call_arguments.done")
        assert final.output[0].arguments == done.arguments

    async def test_the_last_answer_can_be_sent_back_whole(self, sdk) -> None:
        first = await sdk.responses.create(model="tiny-random", input="hello", max_output_tokens=5)
        history = [{"role": "user", "content": "hello"}, *first.output, {"role": "user", "content": "and?"}]
        assert (await sdk.responses.create(model="tiny-random", input=history, max_output_tokens=5)).output_text

    async def test_too_long_a_prompt(self, sdk) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.responses.create(model="tiny-random", input="hello " * 9000)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
        assert "maximum context length" in caught.value.message

    async def test_an_image_for_a_model_that_takes_none(self, sdk) -> None:
        image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.responses.create(model="tiny-random", input=[{"role": "user", "content": [image]}])
        assert caught.value.param == "input"

    async def test_a_client_that_leaves_stops_the_generation(self, sdk, extension) -> None:
        await sdk.responses.create(model="tiny-random", input="hello", max_output_tokens=2)
        body = {"ignore_eos": True}
        request = asyncio.create_task(sdk.responses.create(model="tiny-random", input="go on", extra_body=body))
        await until_busy(extension, 1)
        request.cancel()
        await until_busy(extension, 0)


async def until_busy(extension, wanted: int) -> None:
    gateway = extension.gateway
    alias = await gateway.catalog.resolve("tiny-random")
    async with asyncio.timeout(20), gateway.backends["local"].lease(alias) as lease:
        while True:
            async with gateway.upstream.get(lease.address, "/slots", backend="local") as answer:
                if sum(slot["is_processing"] for slot in json.loads(await answer.read())) == wanted:
                    return


# -- a backend that fails ------------------------------------------------------------------------------------------


def event(data: dict[str, Any]) -> bytes:
    return b"event: %b\n" % data["type"].encode() + behave.event(data)


EVENTS = [
    event({"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}}),
    event(
        {
            "type": "response.output_item.added",
            "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": [], "status": "in_progress"},
        }
    ),
    event({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "hi"}),
    event(
        {
            "type": "response.completed",
            "response": {"id": "resp_1", "object": "response", "usage": {"input_tokens": 3, "output_tokens": 1}},
        }
    ),
]
BODY: dict[str, Any] = {"model": "fake-model", "input": "hello"}
BROKEN = {
    "ends early": EVENTS[:3],
    "ends in the middle of an event": [*EVENTS[:3], EVENTS[3][:40]],
    "sends garbage": [*EVENTS[:3], b"data: {oops\n\n", EVENTS[3]],
    "reports an error": [*EVENTS[:3], behave.event({"error": {"code": 500, "message": "boom"}})],
    "says done": [*EVENTS[:3], behave.DONE],
}


async def test_a_stream_and_a_whole_answer(client, fake, caplog) -> None:
    fake.script = [behave.stream(EVENTS)] * 2
    whole = await client.post(PATH, json={**BODY, "min_p": 0.1})
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "application/json"
    assert whole.json()["output"][0]["content"][0]["text"] == "hi"
    assert fake.requests[-1].body == {**BODY, "min_p": 0.1, "stream": True}
    stream = await client.post(PATH, json={**BODY, "stream": True})
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.text.count("event: response.completed\n") == 1
    assert "[DONE]" not in stream.text
    lines = [record.message for record in caplog.records if record.message.startswith("request_id=")]
    assert ["prompt_tokens=3" in line and "completion_tokens=1" in line for line in lines] == [True, True]


@pytest.mark.parametrize("events", BROKEN.values(), ids=BROKEN)
async def test_a_stream_that_fails_raises_in_the_sdk_and_never_completes(sdk, fake, events) -> None:
    fake.script = [behave.stream(events)] * 3
    kinds = []
    with pytest.raises(openai.APIError) as caught:
        async for one in await sdk.responses.create(**BODY, stream=True):
            kinds += [one.type]
    assert caught.value.code == "backend_failed"
    assert kinds[-1] == "response.output_text.delta"
    with pytest.raises(openai.APIError):
        async with sdk.responses.stream(**BODY) as stream:
            await stream.get_final_response()
    with pytest.raises(openai.InternalServerError) as failed:
        await sdk.responses.create(**BODY)
    assert failed.value.status_code == 502


async def test_the_error_event_is_the_only_end(client, fake) -> None:
    fake.script = [behave.stream(EVENTS[:3])]
    text = (await client.post(PATH, json={**BODY, "stream": True})).text
    assert text.count("event: error\n") == 1
    last = json.loads(text.rsplit("data: ", 1)[1])
    assert (last["type"], last["code"], last["error"]["code"]) == ("error", "backend_failed", "backend_failed")
    assert last["sequence_number"] == text.count("event: ") - 1
    assert last["message"] == last["error"]["message"]


async def test_a_stall_before_the_first_event_keeps_its_status(client, fake, error_of) -> None:
    await client.get("/v1/models")
    fake.script = [behave.stall_before_headers()]
    response = await client.post(PATH, json={**BODY, "stream": True})
    assert (response.status_code, error_of(response)["code"]) == (504, "backend_timeout")


@pytest.mark.parametrize("status", [404, 405])
async def test_a_backend_without_the_route_is_501(client, fake, error_of, status) -> None:
    fake.script = [behave.status(status, {"error": {"code": status, "message": "File Not Found"}})]
    response = await client.post(PATH, json=BODY)
    assert response.status_code == 501
    assert response.headers["x-should-retry"] == "false"
    assert "Responses API" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "resp_1"), ("DELETE", "resp_1"), ("GET", "resp_1/input_items"), ("POST", "resp_1/cancel")],
)
async def test_stored_responses_are_404(client, error_of, method, path) -> None:
    response = await client.request(method, f"{PATH}/{path}")
    assert response.status_code == 404
    error = error_of(response)
    assert error["code"] == "response_not_found"
    assert "'resp_1'" in error["message"]


async def test_what_is_not_stored_in_the_sdks_words(sdk) -> None:
    for call in (sdk.responses.retrieve, sdk.responses.delete, sdk.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            await call("resp_1")
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.input_items.list("resp_1")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"temperature": 3}, "temperature"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
    ],
)
async def test_a_bad_request_never_reaches_the_backend(sdk, fake, more, param) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(**{**BODY, **more})
    assert caught.value.param == param
    assert not [request for request in fake.requests if request.method == "POST"]


async def test_other_methods_are_405(client, error_of) -> None:
    assert (await client.post(f"{PATH}/compact", json=BODY)).status_code == 404
    assert (await client.get(PATH)).status_code == 405
    assert error_of(await client.put(PATH))["code"] == "method_not_allowed"
