"""The engine's other routes, and OpenAI's that are not here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, InternalServerError

from bodhi_jupyter.wire.hosted_routes import HOSTED_ROUTES
from tests.fakes import behaviours as behave
from tests.fakes.bodies import GOOD

CHAT = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
COUNT = "/v1/chat/completions/input_tokens"
#: First steps of paths that are answered here.
SERVED = {"chat", "completions", "embeddings", "models", "responses"}


def test_every_route_of_the_sdk_is_here_or_known_not_to_be() -> None:
    sources = Path(openai.__file__).parent.joinpath("resources").rglob("*.py")
    steps = {step for source in sources for step in re.findall(r'"/([a-z_]+)[/"?{]', source.read_text("utf-8"))}
    assert {"chat", "files", "images", "vector_stores"} <= steps
    assert steps - SERVED - {"v"} <= set(HOSTED_ROUTES)
    assert not SERVED & set(HOSTED_ROUTES)


@pytest.mark.parametrize("route", HOSTED_ROUTES)
async def test_what_openai_hosts_is_501_in_its_shape(client, fake, error_of, route) -> None:
    for method, path in (("GET", f"/v1/{route}"), ("POST", f"/v1/{route}/x/y"), ("DELETE", f"/v1/{route}/x")):
        response = await client.request(method, path)
        error = error_of(response)
        assert (response.status_code, error["type"]) == (501, "not_supported_error")
        assert error["code"] == "unsupported_endpoint"
        assert f"/v1/{route}" in error["message"]
        assert response.headers["x-should-retry"] == "false"
    assert not [one for one in fake.requests if one.method == "POST"]


async def test_a_name_that_only_begins_like_one_is_unknown(client, error_of) -> None:
    response = await client.get("/v1/filesystem")
    assert (response.status_code, error_of(response)["code"]) == (404, "unknown_url")


async def test_the_sdk_does_not_try_again(server_url, token, caplog) -> None:
    async with AsyncOpenAI(base_url=f"{server_url}/v1", api_key=token) as sdk:
        with pytest.raises(InternalServerError, match="Image generation") as caught:
            await sdk.images.generate(prompt="a ship", model="dall-e-3")
        assert caught.value.status_code == 501
        with pytest.raises(InternalServerError, match="File storage"):
            await sdk.files.create(file=("a.txt", b"x" * 50_000), purpose="batch")
    assert caplog.text.count("'POST /v1/images/generations'") == 1


async def test_counting_passes_what_was_sent_and_answers_what_was_said(client, fake, error_of) -> None:
    fake.script = [behave.status(200, {"input_tokens": 26, "object": "response.input_tokens"})]
    response = await client.post(COUNT, json={**CHAT, "chat_template_kwargs": {"a": 1}})
    assert response.json() == {"input_tokens": 26, "object": "response.input_tokens"}
    assert (fake.requests[-1].path, fake.requests[-1].body) == (COUNT, {**CHAT, "chat_template_kwargs": {"a": 1}})
    response = await client.post(COUNT, json={**CHAT, "messages": []})
    assert (response.status_code, error_of(response)["param"]) == (400, "messages")


@pytest.mark.parametrize("path", [COUNT, "/v1/chat/completions/control", "/v1/responses/input_tokens", "/v1/systemone"])
async def test_a_backend_that_lacks_the_route_is_501(client, fake, error_of, path) -> None:
    fake.script = [behave.status(404, {"error": {"code": 404, "message": "File Not Found"}})]
    response = await client.post(path, json=GOOD[path])
    assert (response.status_code, error_of(response)["code"]) == (501, "not_supported")


async def test_native_routes_pass_under_the_same_rules(client, fake, error_of) -> None:
    control = "/v1/chat/completions/control"
    fake.script = [behave.status(200, {"success": True})] * 2
    body = {"model": "default", "id": "chatcmpl-1", "action": "reasoning_end"}
    assert (await client.post(control, json=body)).json() == {"success": True}
    assert fake.requests[-1].body == {**body, "model": "fake-model"}
    for bad, status, param in (({"id": "x"}, 400, "model"), ({"model": "nobody"}, 404, "model")):
        response = await client.post(control, json=bad)
        assert (response.status_code, error_of(response)["param"]) == (status, param)
    assert (await client.get(control)).status_code == 405


@pytest.mark.parametrize(("path", "field"), [("/v1/chat/completions/control", "id"), ("/v1/systemone", "input")])
async def test_a_refusal_of_the_engines_is_about_a_field_of_the_request(client, fake, error_of, path, field) -> None:
    fake.script = [behave.status(400, {"error": {"code": 400, "message": "Prompt contains invalid tokens"}})]
    response = await client.post(path, json=GOOD[path])
    assert (response.status_code, error_of(response)["param"]) == (400, field)


@pytest.mark.parametrize("path", ["/v1/systemone", "/v1/chat/completions/control"])
@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image", "image_url": "http://10.0.0.1/"}, "input[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "input[0].content[0].image_url"),
    ],
)
async def test_no_native_route_leads_the_engine_elsewhere(client, fake, error_of, path, part, param) -> None:
    response = await client.post(path, json={"model": "default", "input": [{"role": "user", "content": [part]}]})
    error = error_of(response)
    assert (response.status_code, error["param"], error["code"]) == (400, param, "invalid_image_url")
    assert not [one for one in fake.requests if one.method == "POST"]


@pytest.mark.parametrize("route", ["chat/completions", "responses"])
async def test_what_would_be_sent_for_an_answer_is_counted(client, fake, error_of, route) -> None:
    body = {
        "chat/completions": {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            ],
            "user": "ann",
            "tools": None,
        },
        "responses": {
            "input": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
            "user": "ann",
            "tools": None,
        },
    }[route]
    fake.script = [behave.status(200, {"input_tokens": 3, "object": "response.input_tokens"})]
    assert (await client.post(f"/v1/{route}/input_tokens", json={**body, "model": "default"})).status_code == 200
    counted = fake.requests[-1].body
    await client.post(f"/v1/{route}", json={**body, "model": "default", "stream": True})
    sent = fake.requests[-1].body
    assert {**counted, "stream": True} == sent
    assert not {"user", "tools"} & counted.keys()
    assert "refusal" not in str(counted)


async def test_a_response_that_would_be_refused_is_not_counted(client, fake, error_of) -> None:
    part = {"type": "input_image", "image_url": "http://10.0.0.1/"}
    for bad, param in (
        ({"input": [{"role": "user", "content": [part]}]}, "input[0].content[0].image_url"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({}, "input"),
    ):
        response = await client.post("/v1/responses/input_tokens", json=bad)
        assert (response.status_code, error_of(response)["param"]) == (400, param)
    assert not [one for one in fake.requests if one.method == "POST"]


async def test_an_image_in_the_request_is_counted(client, fake) -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    body = {"input": [{"role": "user", "content": [part]}]}
    fake.script = [behave.status(200, {"input_tokens": 3, "object": "response.input_tokens"})]
    assert (await client.post("/v1/responses/input_tokens", json=body)).status_code == 200
    assert fake.requests[-1].body["input"][0]["content"] == [part]


@pytest.mark.parametrize("path", ["/v1/stream/x", "/v1/streams/lookup", "/v1/health"])
async def test_no_other_route_of_the_engine_is_reached(client, fake, path) -> None:
    assert (await client.post(path, json={"model": "fake-model"})).status_code == 404
    assert not [one for one in fake.requests if one.method == "POST"]


class TestEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_the_count_is_the_prompts(self, client) -> None:
        body = {"model": "tiny-random", "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 1}
        counted = (await client.post(COUNT, json=body)).json()["input_tokens"]
        chat = (await client.post("/v1/chat/completions", json=body)).json()
        assert counted == chat["usage"]["prompt_tokens"]
        responses = {"model": "tiny-random", "input": "hello there"}
        assert (await client.post("/v1/responses/input_tokens", json=responses)).json()["input_tokens"] > 5
