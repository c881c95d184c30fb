"""Requests that end in unusual ways: each is answered, recorded and forgotten."""

import asyncio
import http.client
import json
from typing import Any

import httpx
import pytest
from tornado import web

from tests.fakes import behaviours as behave

BODY: dict[str, Any] = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


def address(server_url: str) -> tuple[str, int, str]:
    host, _, path = server_url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    return name, int(port), f"/{path}"


@pytest.mark.parametrize(
    "finish",
    [
        {"usage": {"prompt_tokens": 1, "completion_tokens": [1]}},
        {"timings": {"prompt_n": 1, "predicted_n": "many"}},
    ],
)
async def test_counts_that_are_none_do_not_end_a_stream(client, fake, finish) -> None:
    fake.script = [behave.stream([*behave.chat_events()[:3], behave.chat_chunk({}, "stop", **finish), behave.DONE])]
    response = await client.post(PATH, json={**BODY, "stream": True})
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("reason", ["error", "abort"])
async def test_an_answer_that_a_server_broke_off_is_a_failure(client, fake, reason) -> None:
    broken = [*behave.chat_events()[:3], behave.chat_chunk({"content": ""}, reason), behave.DONE]
    text = [behave.event({"choices": [{"index": 0, "text": "a", "finish_reason": one}]}) for one in (None, reason)]
    fake.script = [*[behave.stream(broken)] * 3, behave.stream([*text, behave.DONE])]
    streamed = await client.post(PATH, json={**BODY, "stream": True})
    assert "[DONE]" not in streamed.text
    assert '"code":"backend_failed"' in streamed.text
    whole = await client.post(PATH, json=BODY)
    assert (whole.status_code, whole.json()["error"]["code"]) == (502, "backend_failed")
    lines = (await client.post("/api/chat", json=BODY)).text.splitlines()
    assert "error" in json.loads(lines[-1])
    assert not any(json.loads(line).get("done") for line in lines)
    completion = await client.post("/v1/completions", json={"model": "fake-model", "prompt": "x"})
    assert completion.status_code == 502


async def test_what_a_server_says_of_a_broken_answer_is_told(client, fake) -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 503, "message": "Out of memory"}}
    fake.script = [behave.stream([behave.event({"choices": [choice]})])]
    answer = await client.post(PATH, json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "backend_unavailable")
    assert "Out of memory" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("path", "body"), [(PATH, BODY), ("/v1/embeddings", {"model": "fake-model", "input": "a"})])
@pytest.mark.parametrize(("status", "told"), [(200, 502), (500, 502), (503, 503)])
async def test_so_is_a_whole_answer(client, fake, error_of, path, body, status: int, told: int) -> None:
    fake.behave(lambda exchange: exchange.send_body(status, b"[" * 60_000, {"Content-Type": "application/json"}))
    response = await client.post(path, json=body)
    assert (response.status_code, error_of(response)["type"]) == (told, "server_error")


async def test_a_list_of_models_that_is_nested_too_deeply_is_seen_where_health_is_asked(client, fake) -> None:
    fake.routes["/v1/models"] = lambda exchange: exchange.send_body(200, b"[" * 60_000, {})
    response = await client.get("/bodhi/health")
    assert "did not answer with JSON" in response.text


async def test_an_event_that_is_nested_too_deeply_is_an_error(client, fake) -> None:
    deep = b'data: {"error_":' + b"[" * 60_000 + b"]" * 60_000 + b',"error":1}\n\n'
    fake.script = [behave.stream([*behave.chat_events()[:3], deep])]
    response = await client.post(PATH, json={**BODY, "stream": True})
    assert "[DONE]" not in response.text
    assert '"error":{"message"' in response.text


async def test_a_defect_of_ours_in_mid_stream_is_an_error_event(client, fake, monkeypatch, caplog) -> None:
    def defective(chunk: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bodhi_jupyter.wire.guard.token_counts", defective)
    response = await client.post(PATH, json={**BODY, "stream": True})
    assert "[DONE]" not in response.text
    assert '"code":"internal_error"' in response.text
    assert "a bug" in caplog.text
    assert "a bug" not in response.text


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (behave.stall_before_headers(), ["failed=BackendTimeout", "sent_chunks=0", "because="]),
        (behave.die_between_chunks(), ["failed=BackendDied", "backend='backend'", "alias='fake-model'", "because="]),
        (behave.die_without_finish(), ["failed=BackendFailed", "code=backend_failed", "sent_chunks="]),
    ],
)
async def test_a_failure_of_the_backends_is_explained_in_the_log(client, fake, caplog, behaviour, says) -> None:
    fake.script = [behaviour]
    response = await client.post(PATH, json={**BODY, "stream": True})
    (line,) = [entry.message for entry in caplog.records if entry.levelname == "WARNING" and "failed=" in entry.message]
    assert f"request_id={response.headers['x-request-id']} " in line
    for part in says:
        assert part in line
    for internal in ("hello", "Once", fake.url, "backend-secret"):
        assert internal not in line


async def test_what_a_caller_did_wrong_is_no_warning(client, caplog) -> None:
    await client.post(PATH, json={})
    assert not [entry for entry in caplog.records if entry.levelname == "WARNING" and "failed=" in entry.message]


async def test_one_choice_that_finishes_twice_is_not_two_that_finish(client, fake, error_of) -> None:
    twice = [behave.chat_chunk({}, "stop"), behave.chat_chunk({}, "stop"), behave.DONE]
    fake.script = [behave.stream([*behave.chat_events()[:3], *twice])] * 2
    response = await client.post(PATH, json={**BODY, "stream": True, "n": 2})
    assert "[DONE]" not in response.text
    response = await client.post(PATH, json={**BODY, "n": 2})
    assert response.status_code == 502


async def test_done_without_an_empty_line_is_done(client, fake) -> None:
    fake.script = [behave.stream([*behave.chat_events()[:-1], b"data: [DONE]\n"])]
    response = await client.post(PATH, json={**BODY, "stream": True})
    assert response.text.endswith("data: [DONE]\n\n")


async def test_a_client_that_leaves_before_its_body_came_is_forgotten(
    client, extension, server_url, token, caplog, eventually
) -> None:
    host, port, base = address(server_url)
    _, writer = await asyncio.open_connection(host, port)
    lines = [f"POST {base}{PATH} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}", "Content-Length: 100"]
    writer.write("\r\n".join([*lines, "", "{"]).encode())
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await eventually(lambda: "end=client_left" in caplog.text)
    assert extension.current_activity() is None
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("key", "size", "status"), [("wrong", 5_000_000, 401), (None, 5_000_000, 413)])
async def test_a_client_that_writes_all_before_it_reads_gets_its_refusal(server_url, token, key, size, status) -> None:
    host, port, base = address(server_url)

    def post() -> int:
        connection = http.client.HTTPConnection(host, port, timeout=20)
        try:
            connection.request("POST", base + PATH, b" " * size, {"Authorization": f"Bearer {key or token}"})
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(post) == status


async def test_a_number_that_json_has_not_is_refused(client, fake, error_of) -> None:
    raw = json.dumps(BODY).encode()[:-1] + b', "min_p": 1e999}'
    response = await client.post(PATH, content=raw)
    assert response.status_code == 400
    assert error_of(response)["code"] == "malformed_json"


async def test_a_backend_that_compresses_when_asked_is_not_asked(client, fake) -> None:
    await client.post(PATH, json=BODY)
    assert {request.headers.get("accept-encoding") for request in fake.requests} == {"identity"}


async def test_a_query_that_cannot_be_read_does_not_hang(client) -> None:
    assert (await client.get("/v1/models?no_track_activity=%ff")).status_code == 200


class TestProviders:
    async def test_a_provider_that_refuses_is_a_401_in_our_shape(self, client, jp_serverapp, error_of) -> None:
        provider = jp_serverapp.identity_provider

        class Refusing(type(provider)):  # type: ignore[misc]
            def get_user(self, handler: Any) -> Any:
                raise web.HTTPError(403)

        jp_serverapp.web_app.settings["identity_provider"] = Refusing(parent=jp_serverapp)
        response = await client.get("/v1/models")
        assert response.status_code == 401
        assert error_of(response)["code"] == "invalid_api_key"

    async def test_a_token_that_looks_like_a_scoped_key_is_the_servers_to_judge(self, jp_serverapp, server_url) -> None:
        jp_serverapp.identity_provider.token = "bodhi-of-my-own"
        async with httpx.AsyncClient(base_url=server_url, trust_env=False) as client:
            response = await client.get("/v1/models", headers={"Authorization": "Bearer bodhi-of-my-own"})
        assert response.status_code == 200


class TestOtherOrigins:
    @pytest.fixture
    def jp_server_config(self, jp_server_config) -> dict[str, Any]:
        jp_server_config["ServerApp"]["allow_origin"] = "https://tool.example"
        return jp_server_config

    async def test_a_browser_may_ask_whether_it_may_ask(self, server_url, extension) -> None:
        headers = {
            "Origin": "https://tool.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        async with httpx.AsyncClient(base_url=server_url, trust_env=False) as client:
            for path in (PATH, "/v1/nope"):
                response = await client.options(path, headers=headers)
                assert response.status_code == 200
                assert response.headers["access-control-allow-origin"] == "https://tool.example"

    @pytest.mark.parametrize("path", [PATH, "/v1/messages", "/api/chat"])
    async def test_the_headers_of_sdks_in_pages_are_allowed(self, server_url, extension, path) -> None:
        asked = "anthropic-version,authorization,content-type,x-api-key,x-stainless-lang,x-stainless-retry-count"
        headers = {
            "Origin": "https://tool.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        }
        async with httpx.AsyncClient(base_url=server_url, trust_env=False) as client:
            response = await client.options(path, headers=headers)
        allowed = {name.strip() for name in response.headers["access-control-allow-headers"].split(",")}
        assert set(asked.split(",")) <= allowed

    async def test_headers_that_the_server_names_are_its_own_choice(self, jp_serverapp, server_url) -> None:
        chosen = {"Access-Control-Allow-Headers": "authorization"}
        jp_serverapp.web_app.settings["headers"] = chosen
        headers = {
            "Origin": "https://tool.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-stainless-lang",
        }
        async with httpx.AsyncClient(base_url=server_url, trust_env=False) as client:
            response = await client.options(PATH, headers=headers)
        assert response.headers["access-control-allow-headers"] == "authorization"

    async def test_so_are_the_headers_that_it_lets_pages_read(self, jp_serverapp, client) -> None:
        jp_serverapp.web_app.settings["headers"] = {"Access-Control-Expose-Headers": "x-request-id"}
        response = await client.post(PATH, json={}, headers={"Origin": "https://tool.example"})
        assert response.headers["access-control-expose-headers"] == "x-request-id"

    async def test_errors_can_be_read_by_the_page(self, client) -> None:
        response = await client.post(PATH, json={}, headers={"Origin": "https://tool.example"})
        assert response.status_code == 400
        assert response.headers["access-control-allow-origin"] == "https://tool.example"

    async def test_headers_that_sdks_look_for_can_be_read_by_the_page(self, client, fake) -> None:
        fake.behave(behave.stream(behave.chat_events()))
        chat = {"model": "fake-model", "messages": [{"role": "user", "content": "Hi"}]}
        for body in (chat, {**chat, "stream": True}, {}):
            response = await client.post(PATH, json=body, headers={"Origin": "https://tool.example"})
            readable = response.headers["access-control-expose-headers"].split(", ")
            assert {"x-request-id", "retry-after", "x-ratelimit-remaining-tokens"} <= set(readable)

    async def test_what_no_page_asks_has_no_words_for_pages(self, client) -> None:
        response = await client.post(PATH, json={})
        assert not [name for name in response.headers if name.startswith("access-control-")]
        # A browser may keep it, and give it to a page of that origin later.
        response = await client.get("/v1/models")
        assert response.headers["access-control-allow-origin"] == "https://tool.example"


class TestKeepAlive:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_the_requests_own_keep_alive_wins(self, client, extension, eventually) -> None:
        body = {**BODY, "model": "tiny-random", "max_tokens": 2}
        assert (await client.post(PATH, json={**body, "keep_alive": "1h"})).status_code == 200
        assert extension.gateway.pool.states()["tiny-random"].expires_in > 3000
        assert (await client.post(PATH, json={**body, "keep_alive": 0})).status_code == 200
        await eventually(lambda: "tiny-random" not in extension.gateway.pool.states())

    async def test_also_where_a_whole_answer_is_not_asked_for_as_a_stream(self, client, extension) -> None:
        tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
        body = {**BODY, "model": "tiny-random", "max_tokens": 2, "tools": [tool], "logprobs": True}
        assert (await client.post(PATH, json={**body, "keep_alive": "1h"})).status_code == 200
        assert extension.gateway.pool.states()["tiny-random"].expires_in > 3000


class TestLargeBodies:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "max_body_bytes": 10_000_000}

    async def test_they_are_handled_off_the_loop_and_arrive_whole(self, client, fake) -> None:
        text = "x" * 2_000_000
        for stream in (True, False):
            body = {**BODY, "messages": [{"role": "user", "content": text}], "stream": stream}
            assert (await client.post(PATH, json=body)).status_code == 200
            assert fake.requests[-1].body["messages"][0]["content"] == text
