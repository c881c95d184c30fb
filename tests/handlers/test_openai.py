"""``/v1``: models, errors of requests, limits, and answers to those who leave."""

import asyncio
import json
from typing import Any

import pytest

from tests.fakes import behaviours as behave

BODY: dict[str, Any] = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


async def test_models_are_listed_the_backends_first(client) -> None:
    response = await client.get("/v1/models")
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["fake-model", "tiny-random"]
    for model in body["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(model)
        assert (model["object"], type(model["created"]), type(model["owned_by"])) == ("model", int, str)
    assert "knows bodhi-jupyter" in body["data"][1]["description"]


class TestNames:
    @pytest.fixture
    def fake(self, jp_asyncio_loop):
        from tests.fakes.llama import FakeLlama

        fake = FakeLlama("org/model:Q8_0", "plain")
        jp_asyncio_loop.run_until_complete(fake.__aenter__())
        yield fake
        jp_asyncio_loop.run_until_complete(fake.__aexit__())

    @pytest.mark.parametrize("path", ["org%2Fmodel%3AQ8_0", "org%2Fmodel:Q8_0", "org/model:Q8_0"])
    async def test_ids_with_slashes_and_colons(self, client, path) -> None:
        response = await client.get(f"/v1/models/{path}")
        assert response.status_code == 200
        assert response.json()["id"] == "org/model:Q8_0"

    async def test_an_unknown_model_gets_close_names(self, client, error_of) -> None:
        for response in (
            await client.get("/v1/models/plane"),
            await client.post(PATH, json={**BODY, "model": "plane"}),
        ):
            assert response.status_code == 404
            error = error_of(response)
            assert (error["code"], error["param"]) == ("model_not_found", "model")
            assert "'plane'" in error["message"]
            assert "'plain'" in error["message"]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v1/chat", "/v1/models/"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_an_unknown_path_is_404_in_openais_shape(client, error_of, method, path) -> None:
    response = await client.request(method, path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert error_of(response)["code"] == "unknown_url"


async def test_a_known_path_with_another_method_is_405(client, error_of) -> None:
    refused = await client.get(PATH)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST, OPTIONS")
    assert error_of(await client.delete("/v1/models"))["code"] == "method_not_allowed"


async def test_an_error_names_model_field_and_endpoint(client, error_of) -> None:
    response = await client.post(PATH, json={**BODY, "temperature": 99, "model": "fake-model"})
    error = error_of(response)
    assert (response.status_code, error["param"], error["type"]) == (400, "temperature", "invalid_request_error")
    assert "POST /v1/chat/completions" in error["message"]
    response = await client.post(PATH, json={**BODY, "model": "nobody"})
    assert "model 'nobody'" in error_of(response)["message"]


async def test_a_bad_request_never_reaches_the_backend(client, fake, error_of) -> None:
    for body in (b"", b"{", b"[]", b'{"model": "fake-model"}'):
        assert error_of(await client.post(PATH, content=body))["type"] == "invalid_request_error"
    assert not [request for request in fake.requests if request.method == "POST"]


async def test_the_request_id_is_in_the_answer_and_in_the_log(client, caplog) -> None:
    for response in (await client.post(PATH, json=BODY), await client.post(PATH, json={})):
        assert f"request_id={response.headers['x-request-id']} " in caplog.text
    assert "hello" not in caplog.text.split("request_id=", 1)[1].splitlines()[0]


async def test_the_line_in_the_log_has_counts_and_times(client, caplog) -> None:
    await client.post(PATH, json={**BODY, "stream": True})
    line = next(record.message for record in caplog.records if record.message.startswith("request_id="))
    for pair in ("status=200", "end=finished", "model='fake-model'", "prompt_tokens=30", "completion_tokens=5"):
        assert pair in line
    assert "first_token_seconds=" in line


class TestTooLarge:
    async def test_by_its_declared_length_before_it_is_read(self, client, server_url, token, error_of) -> None:
        host, port = server_url.removeprefix("http://").split("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = "/" + server_url.split("/", 3)[3] + PATH
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {token}",
            "Content-Length: 400000000",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        status = await asyncio.wait_for(reader.readline(), 20)
        assert b"413" in status
        writer.close()

    async def test_by_what_came_when_no_length_was_declared(self, client, fake, error_of) -> None:
        async def body():
            for _ in range(20):
                yield b" " * 10_000

        response = await client.post(PATH, content=body())
        assert response.status_code == 413
        assert error_of(response)["code"] == "request_too_large"
        assert not [request for request in fake.requests if request.method == "POST"]

    async def test_up_to_the_limit_it_passes(self, client, fake) -> None:
        raw = json.dumps({**BODY, "stream": True}).encode()
        assert (await client.post(PATH, content=raw + b" " * (100_000 - len(raw)))).status_code == 200
        assert (await client.post(PATH, content=raw + b" " * (100_001 - len(raw)))).status_code == 413


async def test_a_request_in_flight_counts_as_activity(client, fake, extension, eventually) -> None:
    assert extension.current_activity() is None
    fake.script = [behave.stall_mid_stream()]
    request = asyncio.create_task(client.post(PATH, json={**BODY, "stream": True}))
    await eventually(lambda: extension.current_activity() == {"requests": 1})
    await request
    await eventually(lambda: extension.current_activity() is None)


async def test_a_client_that_left_is_recorded_as_such(client, fake, caplog, eventually) -> None:
    fake.script = [behave.stall_before_headers()]
    request = asyncio.create_task(client.post(PATH, json=BODY))
    await eventually(lambda: any(request.method == "POST" for request in fake.requests))
    request.cancel()
    await eventually(lambda: "end=client_left" in caplog.text)
    assert "status=499" in caplog.text
    assert "Traceback" not in caplog.text
