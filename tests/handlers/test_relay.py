"""Every way in which a backend can fail: the promised error, nothing hangs, nothing looks like success."""

import asyncio
import json
from typing import Any

import pytest

from bodhi_jupyter.handlers import relay
from bodhi_jupyter.wire import reading
from tests.fakes import behaviours as behave
from tests.fakes.llama import nobody_listening

BODY: dict[str, Any] = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
STREAM = {**BODY, "stream": True}
PATH = "/v1/chat/completions"


def events(text: str) -> list[Any]:
    return [
        line if line == "[DONE]" else json.loads(line)
        for line in (block.removeprefix("data: ") for block in text.split("\n\n") if block and block[0] != ":")
    ]


def whole_answer() -> dict[str, Any]:
    """The backend's own, with the keys that OpenAI always sends."""
    answer = behave.chat_answer()
    answer["choices"][0]["logprobs"] = None
    answer["choices"][0]["message"]["refusal"] = None
    return answer


async def test_a_stream_arrives_as_the_backend_sent_it(client, fake) -> None:
    response = await client.post(PATH, json=STREAM)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    # But for the content of the first delta, which OpenAI's never leaves null.
    sent = b"".join(behave.chat_events(include_usage=False))
    assert response.content == sent.replace(b'"content":null', b'"content":""', 1)


async def test_a_whole_answer_is_put_together_from_a_stream(client, fake) -> None:
    response = await client.post(PATH, json=BODY)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == whole_answer()
    assert fake.requests[-1].body["stream"] is True


async def test_what_the_caller_sent_is_forwarded_untouched(client, fake) -> None:
    raw = (
        b'{ "model":"fake-model", "stream":true, "grammar":"root ::= \\"a\\"", "seed": 9007199254740993,'
        b' "messages":[{"role":"user","content":"\\u00e9","name":"ann"}] }'
    )
    response = await client.post(PATH, content=raw)
    assert response.status_code == 200
    assert int(fake.requests[-1].headers["content-length"]) == len(raw)
    response = await client.post(PATH, content=raw.replace(b'"stream":true, ', b""))
    assert response.status_code == 200
    sent = fake.requests[-1].body
    assert (sent["grammar"], sent["seed"]) == ('root ::= "a"', 9007199254740993)
    assert sent["messages"] == [{"role": "user", "content": "é", "name": "ann"}]


@pytest.mark.parametrize(
    "stream", ["", '"stream":false,', '"\\u0073tream":false,', '"stream_options":null,', '"stream":null,']
)
async def test_the_backend_is_told_once_to_stream(client, fake, stream) -> None:
    raw = "{" + stream + '"model":"fake-model","messages":[{"role":"user","content":"say \\"stream\\""}]}\n '
    response = await client.post(PATH, content=raw)
    assert response.status_code == 200
    sent = fake.requests[-1]
    assert (sent.body["stream"], sent.body["stream_options"]) == (True, {"include_usage": True})
    assert sent.body["messages"] == [{"role": "user", "content": 'say "stream"'}]


async def test_default_stands_for_the_backends_first_model(client, fake) -> None:
    response = await client.post(PATH, json={**STREAM, "model": "default"})
    assert response.status_code == 200
    assert fake.requests[-1].body["model"] == "fake-model"


async def test_headers_stay_on_their_side(client, fake, token) -> None:
    fake.script = [behave.stream(behave.chat_events())]
    response = await client.post(
        PATH, json=STREAM, headers={"Cookie": "a=b", "X-XSRFToken": "x", "TE": "trailers", "X-Mine": "1"}
    )
    received = fake.requests[-1].headers
    assert received["authorization"] == "Bearer backend-secret"
    assert not {"cookie", "x-xsrftoken", "te", "x-mine", "origin", "referer"} & set(received)
    assert token not in json.dumps(dict(received))
    assert "llama.cpp" not in str(response.headers)
    assert "keep-alive" not in response.headers


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (behave.refuse, 502, "backend_failed"),
        (behave.stall_before_headers(), 504, "backend_timeout"),
        (behave.stall_before_first_event(), 504, "backend_timeout"),
        (behave.die_between_chunks(0), 502, "backend_failed"),
        (behave.die_without_finish(0), 502, "backend_failed"),
        (behave.error_event_mid_stream(0), 502, "backend_failed"),
        (behave.garbage_json_event(0), 502, "backend_failed"),
        (behave.non_json_answer(), 502, "backend_failed"),
        (behave.status(500), 502, "backend_failed"),
        (behave.status(503), 503, "backend_unavailable"),
        (behave.status(429), 429, "server_busy"),
        (behave.status(401), 502, "backend_key_refused"),
    ],
)
@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_failure_before_the_first_event_keeps_its_status(
    client, fake, error_of, body, behaviour, status, code
) -> None:
    await client.get("/v1/models")  # so that the script is for the request alone
    fake.script = [behaviour] * 2
    response = await client.post(PATH, json=body)
    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert response.headers["content-type"] == "application/json"


MID_STREAM = {
    "stalls": (behave.stall_mid_stream(), "backend_timeout"),
    "dies in the middle of a chunk": (behave.die_mid_chunk(), "backend_failed"),
    "dies between chunks": (behave.die_between_chunks(), "backend_failed"),
    "ends in the middle of an event": (behave.end_mid_event(), "backend_failed"),
    "ends without a finish": (behave.die_without_finish(), "backend_failed"),
    "says done without a finish": (behave.done_without_finish(), "backend_failed"),
    "reports an error": (behave.error_event_mid_stream(), "backend_failed"),
    "reports an error as a string": (behave.error_event_mid_stream(error={"error": "boom"}), "backend_failed"),
    "sends garbage": (behave.garbage_json_event(), "backend_failed"),
}


@pytest.mark.parametrize(("behaviour", "code"), MID_STREAM.values(), ids=MID_STREAM)
async def test_a_failure_in_mid_stream_is_an_error_event_and_never_done(client, fake, behaviour, code) -> None:
    fake.script = [behaviour]
    response = await client.post(PATH, json=STREAM)
    assert response.status_code == 200
    received = events(response.text)
    assert "[DONE]" not in received
    assert [set(event) for event in received].count({"error"}) == 1
    assert set(received[-1]["error"]) == {"message", "type", "param", "code"}
    assert received[-1]["error"]["code"] == code
    assert "127.0.0.1" not in response.text


@pytest.mark.parametrize(("behaviour", "code"), MID_STREAM.values(), ids=MID_STREAM)
async def test_half_an_answer_is_no_answer(client, fake, error_of, behaviour, code) -> None:
    fake.script = [behaviour]
    response = await client.post(PATH, json=BODY)
    assert (response.status_code, error_of(response)["code"]) == (504 if code == "backend_timeout" else 502, code)


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [(PATH, {}, 502), ("/v1/responses", {"input": "hello"}, 502), ("/api/chat", {"stream": False}, 500)],
)
async def test_a_whole_answer_that_has_no_end_is_none(client, fake, monkeypatch, path, more, status) -> None:
    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", 2**20)
    fake.script = [behave.never_ending()]
    response = await client.post(path, json={**BODY, **more})
    assert response.status_code == status
    assert "more than 1 MiB" in response.text
    await asyncio.wait_for(fake.client_left.wait(), 20)


@pytest.mark.parametrize("path", [PATH, "/api/chat"])
async def test_a_stream_that_is_checked_and_has_no_end_fails(client, fake, monkeypatch, path) -> None:
    for module in (reading, relay):
        monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 2**20)
    fake.script = [behave.never_ending()]
    wanted = {"format": "json"} if path == "/api/chat" else {"response_format": {"type": "json_object"}}
    response = await client.post(path, json={**STREAM, **wanted})
    assert "more than 1 MiB" in response.text.splitlines()[-1 if path == "/api/chat" else -2]
    await asyncio.wait_for(fake.client_left.wait(), 20)


async def test_a_finished_answer_without_done_is_a_success(client, fake) -> None:
    fake.script = [behave.finish_without_done()]
    response = await client.post(PATH, json=STREAM)
    assert events(response.text)[-1] == "[DONE]"


async def test_the_backends_own_refusal_is_in_openais_words(client, fake, error_of) -> None:
    fake.script = [
        behave.status(400, {"error": {"code": 400, "message": "Field 'n_keep': Value must be >= -1"}}),
        behave.status(
            400,
            {
                "error": {
                    "code": 400,
                    "type": "exceed_context_size_error",
                    "message": "x",
                    "n_prompt_tokens": 900,
                    "n_ctx": 256,
                }
            },
        ),
        behave.status(
            400, {"error": {"code": 400, "message": "failed to open /srv/models/secret.gguf at http://10.0.0.1:80/"}}
        ),
    ]
    refused = error_of(await client.post(PATH, json={**STREAM, "n_keep": -9}))
    assert (refused["param"], refused["type"]) == ("n_keep", "invalid_request_error")
    too_long = await client.post(PATH, json=STREAM)
    assert too_long.status_code == 400
    assert too_long.headers["x-should-retry"] == "false"
    assert error_of(too_long)["code"] == "context_length_exceeded"
    for words in ("256", "900", "maximum context length", "exceeds the available context size"):
        assert words in error_of(too_long)["message"]
    leaky = error_of(await client.post(PATH, json=STREAM))
    assert "srv" not in leaky["message"]
    assert "10.0.0.1" not in leaky["message"]


@pytest.mark.parametrize(
    ("said", "told", "soon"),
    [
        ("40", "40", "true"),
        ("0", "1", "true"),
        ("61", "61", "false"),
        ("9999999", "86400", "false"),
        ("?", "1", "true"),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, BODY),
        (PATH, STREAM),
        ("/v1/embeddings", {"model": "fake-model", "input": "hello"}),
        ("/v1/messages", {**BODY, "max_tokens": 5}),
        ("/v1/responses", {"model": "fake-model", "input": "hello"}),
        ("/api/chat", BODY),
    ],
    ids=["whole", "stream", "embeddings", "messages", "responses", "ollama"],
)
async def test_the_wait_that_a_backend_asks_for_is_passed_on(
    client, fake, path, body, status, said, told, soon
) -> None:
    await client.get("/v1/models")
    fake.behave(behave.status(status, headers={"Retry-After": said}))
    response = await client.post(path, json=body)
    assert (response.headers["retry-after"], response.headers["x-should-retry"]) == (told, soon)


async def test_a_reused_connection_that_is_closed_is_tried_once_more(client, fake) -> None:
    await client.get("/v1/models")
    fake.script = [behave.refuse, behave.ok("second")]
    response = await client.post(PATH, json=BODY)
    assert response.json()["choices"][0]["message"]["content"] == "second"


class TestLeaving:
    @pytest.fixture
    def bodhi_config(self, bodhi_config):
        return {**bodhi_config, "read_timeout": 600.0}

    @pytest.mark.parametrize(
        "behaviour",
        [behave.stall_before_headers(), behave.stall_before_first_event(), behave.stall_mid_stream()],
        ids=["before headers", "before the first event", "in mid-stream"],
    )
    @pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
    async def test_a_client_that_leaves_closes_the_upstream_request(
        self, client, fake, extension, eventually, body, behaviour
    ) -> None:
        fake.script = [behaviour]
        request = asyncio.create_task(client.post(PATH, json=body))
        await asyncio.wait_for(fake.arrived.wait(), 20)
        while not any(request.path == PATH for request in fake.requests):
            fake.arrived.clear()
            await asyncio.wait_for(fake.arrived.wait(), 20)
        request.cancel()
        await asyncio.wait_for(fake.client_left.wait(), 20)
        await eventually(lambda: not extension.gateway.in_flight)


async def test_a_client_that_does_not_read_holds_the_backend_back(client, fake, server_url, token) -> None:
    fake.script = [behave.never_ending()]
    host, port = server_url.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    body = json.dumps(STREAM).encode()
    path = "/" + server_url.split("/", 3)[3] + PATH
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await asyncio.wait_for(fake.held_back.wait(), 60)
    async with asyncio.timeout(60):
        # What the sockets in between can hold is still taken; then nothing more.
        written = -1
        while fake.bytes_written != written:
            written = fake.bytes_written
            await asyncio.sleep(0.3)
    writer.close()
    await asyncio.wait_for(fake.client_left.wait(), 20)
    del reader


class TestNobodyThere:
    @pytest.fixture
    def backend_url(self):
        with nobody_listening() as url:
            yield url

    async def test_a_backend_that_is_down_is_503(self, client, error_of) -> None:
        response = await client.post(PATH, json=BODY)
        assert response.status_code == 503
        assert error_of(response)["code"] == "backend_unavailable"
        assert response.headers["retry-after"] == "1"

    async def test_default_is_not_answered_by_another_model(self, client, error_of) -> None:
        response = await client.post(PATH, json={**BODY, "model": "default"})
        assert response.status_code == 503

    async def test_the_other_models_are_still_there(self, client) -> None:
        models = (await client.get("/v1/models")).json()["data"]
        assert [model["id"] for model in models] == ["tiny-random"]

    async def test_health_says_so(self, client) -> None:
        response = await client.get("/bodhi/health")
        assert response.status_code == 503
        assert response.json()["backends"]["backend"] == {
            "ok": False,
            "detail": "The backend 'backend' cannot be reached.",
        }


class TestLongWait:
    @pytest.fixture
    def bodhi_config(self, bodhi_config, monkeypatch):
        monkeypatch.setattr("bodhi_jupyter.handlers.streams.HOLD_SECONDS", 0.05)
        monkeypatch.setattr("bodhi_jupyter.handlers.streams.BEAT_SECONDS", 0.05)
        return bodhi_config

    async def test_comments_keep_the_connection_alive_until_the_first_event(self, client, fake) -> None:
        go_on = asyncio.Event()

        async def slow(exchange) -> None:
            await go_on.wait()
            await behave.ok()(exchange)

        fake.script = [slow]
        async with client.stream("POST", PATH, json=STREAM) as response:
            assert response.status_code == 200
            lines = response.aiter_lines()
            waiting = [await anext(lines) for _ in range(4)]
            assert waiting == [": waiting", "", ": waiting", ""]
            go_on.set()
            rest = [line async for line in lines]
        assert rest[-2] == "data: [DONE]"

    async def test_a_failure_after_the_headers_is_an_event(self, client, fake) -> None:
        fake.script = [behave.stall_before_headers()]
        response = await client.post(PATH, json=STREAM)
        assert response.status_code == 200
        assert response.text.startswith(": waiting\n\n")
        assert events(response.text)[-1]["error"]["code"] == "backend_timeout"
        assert "[DONE]" not in response.text

    async def test_a_whole_answer_has_no_comments(self, client, fake) -> None:
        async def slow(exchange) -> None:
            await asyncio.sleep(0.2)
            await behave.ok()(exchange)

        fake.script = [slow]
        assert (await client.post(PATH, json=BODY)).json() == whole_answer()


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (PATH, BODY, "invalid_request_error"),
        ("/v1/completions", {"prompt": "hello"}, "invalid_request_error"),
        ("/v1/responses", {"input": "hello"}, "invalid_request_error"),
        ("/v1/embeddings", {"input": "hello"}, "invalid_request_error"),
        ("/v1/messages", {**BODY, "max_tokens": 5}, "not_found_error"),
        ("/api/chat", BODY, None),
    ],
)
async def test_a_model_that_the_server_does_not_have_is_not_found(client, fake, path, body, kind) -> None:
    error = {"code": 400, "message": "model 'fake-model' not found", "type": "invalid_request_error"}
    fake.behave(behave.status(400, {"error": error}))
    response = await client.post(path, json={"model": "fake-model", **body})
    assert response.status_code == 404
    told = response.json()["error"]
    if kind is None:
        assert told == "model 'fake-model' not found"
    else:
        assert told["type"] == kind
        assert told.get("code", "model_not_found") == "model_not_found"
        assert "The backend 'backend' does not have this model (any more)." in told["message"]
