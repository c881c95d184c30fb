"""Limits as callers meet them: headers, refusals in each dialect, what is free, and who shares them."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from tests.fakes import behaviours as behave
from tests.fakes.bodies import GOOD, HELLO
from tests.handlers.limiting import BODY, PATH, remaining
from tests.tiny_random import write_tiny_random

OLLAMA = {
    "/api/chat": {"model": "fake-model", "messages": [HELLO]},
    "/api/generate": {"model": "fake-model", "prompt": "hello"},
    "/api/embed": {"model": "fake-model", "input": "hello"},
    "/api/embeddings": {"model": "fake-model", "prompt": "hello"},
}
RUNNING = {
    **{path: GOOD[path] for path in GOOD if not path.endswith(("input_tokens", "count_tokens", "control"))},
    **OLLAMA,
}
#: What observes or manages, and must stay free.
FREE = [
    *(("GET", path, None) for path in ("/v1/models", "/v1/models/fake-model", "/api/tags", "/api/ps", "/api/version")),
    *(("GET", path, None) for path in ("/bodhi/health", "/bodhi/v1/backends", "/bodhi/v1/usage")),
    *(("POST", path, GOOD[path]) for path in GOOD if path not in RUNNING),
    ("POST", "/api/show", {"model": "fake-model"}),
]
DURATION = re.compile(r"\d+ms|(\d+h)?(\d+m)?\d+s")


@pytest.fixture
def limits() -> dict[str, Any]:
    return {"user": {"requests_per_minute": 50, "tokens_per_minute": 1000}}


@pytest.fixture
def bodhi_config(bodhi_config: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    return {**bodhi_config, "limits": limits, "read_timeout": 30.0}


def ratelimit_headers(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("x-ratelimit-")}


class TestNotConfigured:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {}

    async def test_there_is_nothing_that_counts(self, client, extension) -> None:
        response = await client.post(PATH, json=BODY)
        assert response.status_code == 200
        assert ratelimit_headers(response) == {}
        assert extension.gateway.limits is None


class TestHeaders:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_on_success(self, client, stream: bool) -> None:
        await client.post(PATH, json=BODY)
        headers = ratelimit_headers(await client.post(PATH, json={**BODY, "stream": stream}))
        resets = {name: headers.pop(name) for name in list(headers) if "-reset-" in name}
        assert headers == {
            "x-ratelimit-limit-requests": "50",
            "x-ratelimit-remaining-requests": "48",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "965",
        }
        assert set(resets) == {"x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"}
        assert all(DURATION.fullmatch(value) for value in resets.values())

    async def test_on_failures_of_the_backend(self, client, fake) -> None:
        fake.behave(behave.status(500))
        response = await client.post(PATH, json=BODY)
        assert response.status_code == 502
        assert response.headers["x-ratelimit-remaining-requests"] == "49"

    @pytest.mark.parametrize(("method", "path", "body"), FREE)
    async def test_not_on_what_is_free(self, client, method: str, path: str, body: Any) -> None:
        assert ratelimit_headers(await client.request(method, path, json=body)) == {}
        assert await remaining(client, "requests") == 50


class TestRefusals:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"user": {"requests_per_minute": 1}}

    @pytest.mark.parametrize("path", [path for path in RUNNING if path.startswith("/v1/")])
    async def test_in_the_shape_of_the_dialect(self, client, fake, error_of, path: str) -> None:
        await client.post(PATH, json=BODY)
        asked = len(fake.requests)
        response = await client.post(path, json=RUNNING[path])
        assert response.status_code == 429
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert response.headers["x-should-retry"] == "true"
        assert response.headers["x-ratelimit-remaining-requests"] == "0"
        if path.startswith("/v1/messages"):
            body = response.json()
            assert (body["type"], body["error"]["type"]) == ("error", "rate_limit_error")
        else:
            error = error_of(response)
            assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
        assert "1 requests per minute for each user" in response.text
        assert len(fake.requests) == asked

    @pytest.mark.parametrize("path", OLLAMA)
    async def test_in_ollamas_shape(self, client, fake, path: str) -> None:
        await client.post(PATH, json=BODY)
        asked = len(fake.requests)
        response = await client.post(path, json=OLLAMA[path])
        assert (response.status_code, set(response.json())) == (429, {"error"})
        assert response.json()["error"].startswith("Rate limit reached: 1 requests per minute")
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert len(fake.requests) == asked

    async def test_a_stream_is_refused_before_it_begins(self, client, error_of) -> None:
        await client.post(PATH, json=BODY)
        response = await client.post(PATH, json={**BODY, "stream": True})
        assert (response.status_code, error_of(response)["code"]) == (429, "rate_limit_exceeded")

    @pytest.mark.parametrize(("method", "path", "body"), FREE)
    async def test_observers_are_free(self, client, method: str, path: str, body: Any) -> None:
        await client.post(PATH, json=BODY)
        assert (await client.request(method, path, json=body)).status_code != 429

    async def test_they_are_recorded_and_told_of_once(self, client, extension, records, monkeypatch) -> None:
        told: list[Any] = []
        monkeypatch.setattr(extension._events, "limit_reached", lambda *limit, **who: told.append((limit, who)))
        for _ in range(3):
            await client.post(PATH, json=BODY)
        assert [(record.error, record.person) for record in records] == [
            (None, "owner"),
            *[("rate_limit_exceeded", "owner")] * 2,
        ]
        ((limit, who),) = told
        assert limit == ("requests per minute for each user",)
        assert (who["person"], who["alias"]) == ("owner", "fake-model")

    async def test_an_event_on_jupyters_bus(self, client, jp_serverapp, eventually) -> None:
        heard: list[dict[str, Any]] = []

        async def hear(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
            heard.append(data)

        jp_serverapp.event_logger.add_listener(schema_id="https://events.bodhi-jupyter.dev/limit/v1", listener=hear)
        for _ in range(2):
            await client.post(PATH, json=BODY)
        await eventually(lambda: heard)
        assert (heard[0]["limit"], heard[0]["alias"]) == ("requests per minute for each user", "fake-model")


async def test_what_is_wrong_or_unknown_does_not_count(client) -> None:
    assert (await client.post(PATH, json={**BODY, "model": "nobody"})).status_code == 404
    for wrong in ({"messages": None}, {"keep_alive": "soon"}):
        assert (await client.post(PATH, json={**BODY, **wrong})).status_code == 400
    assert await remaining(client, "requests") == 50


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"suffix": "x", "format": "json"}, "format"),
        ({"suffix": "x", "template": "{{ .Prompt }}"}, "template"),
        ({"raw": True, "images": ["iVBORw0KGgoAAAANSUhEUg=="]}, "images"),
        ({"context": [1], "images": ["iVBORw0KGgoAAAANSUhEUg=="]}, "images"),
        ({"template": "{{ range .Messages }}{{ end }}"}, "template"),
    ],
)
async def test_what_is_wrong_with_a_prompt_is_found_before_it_counts(client, fake, records, wrong, param) -> None:
    before = await remaining(client, "requests")
    refused = await client.post("/api/generate", json={"model": "fake-model", "prompt": "hello", **wrong})
    assert refused.status_code == 400
    assert ratelimit_headers(refused) == {}
    assert await remaining(client, "requests") == before - 1
    assert [(one.status, one.field) for one in records] == [(200, None), (400, param), (200, None)]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        (PATH, {"top_logprobs": 3}),
        ("/v1/completions", {"n": 3, "best_of": 2}),
        ("/v1/responses", {"response_format": {"type": "xml"}}),
    ],
)
async def test_what_an_alias_brings_to_a_request_is_looked_at_before_it_counts(client, path, params) -> None:
    (model,) = [one for one in (await client.get("/v1/models")).json()["data"] if one["id"] == "fake-model"]
    alias = {"alias": "mine", "backend": model["meta"]["backend"], "model": "fake-model", "request_params": params}
    assert (await client.post("/bodhi/v1/aliases", json=alias)).status_code == 201
    refused = await client.post(path, json={**GOOD[path], "model": "mine"})
    assert refused.status_code == 400
    assert ratelimit_headers(refused) == {}
    assert await remaining(client, "requests") == 50


async def test_what_the_model_cannot_do_does_not_count(client, jp_data_dir) -> None:
    folder = jp_data_dir / "bodhi" / "models"
    folder.mkdir(parents=True)
    write_tiny_random(folder / "m.gguf")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    asked: list[tuple[str, dict[str, Any]]] = [
        (PATH, {"messages": [{"role": "user", "content": [image]}]}),
        ("/api/chat", {"messages": [{**HELLO, "images": ["iVBORw0KGgo="]}]}),
        ("/api/chat", {"messages": [HELLO], "think": True}),
        ("/api/generate", {"prompt": "x", "suffix": "y"}),
    ]
    for path, body in asked:
        assert (await client.post(path, json={**body, "model": "m"})).status_code == 400
    assert await remaining(client, "requests") == 50


class TestManyAtOnce:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        # None on tokens: those that are answered before others come would use them up.
        return {"user": {"requests_per_minute": 50}}

    @pytest.mark.parametrize("is_model_known", [False, True])
    async def test_it_is_exact(self, client, is_model_known: bool) -> None:
        if is_model_known:  # else all wait for the list of models, and go on together
            await client.get("/v1/models")
        responses = await asyncio.gather(*(client.post(PATH, json=BODY) for _ in range(200)))
        statuses = [response.status_code for response in responses]
        assert (statuses.count(200), statuses.count(429)) == (50, 150)


class TestThePerson:
    async def test_a_new_kernel_goes_on_where_the_old_one_was(self, client, extension) -> None:
        keys = extension.gateway.keys
        left = []
        for kernel in ("kernel:1", "kernel:2"):
            key = keys.mint(kernel)
            response = await client.post(PATH, json=BODY, headers={"Authorization": f"Bearer {key}"})
            left.append(response.headers["x-ratelimit-remaining-requests"])
            keys.revoke(key)
        assert left == ["49", "48"]
        assert await remaining(client, "requests") == 48

    async def test_the_owner_has_the_name_that_the_hub_says(self, client, extension, records) -> None:
        extension.gateway.owner = "ann"
        key = extension.gateway.keys.mint("kernel:1")
        await client.post(PATH, json=BODY, headers={"Authorization": f"Bearer {key}"})
        await client.post(PATH, json=BODY)
        assert [(record.user == "kernel:1", record.person) for record in records] == [(True, "ann"), (False, "ann")]


class TestCopies:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"alias": {"elsewhere": {"streams": 1}, "fake-model": {"requests_per_minute": 2}, "own": {}}}

    async def test_a_copy_shares_what_its_model_is_allowed(self, client, error_of) -> None:
        for name in ("copy", "own"):
            made = await client.post("/api/copy", json={"source": "fake-model", "destination": name})
            assert made.status_code == 200
        assert (await client.post(PATH, json={**BODY, "model": "copy"})).status_code == 200
        assert (await client.post(PATH, json=BODY)).status_code == 200
        for name in ("copy", "fake-model"):
            refused = await client.post(PATH, json={**BODY, "model": name})
            assert refused.status_code == 429
            assert "2 requests per minute for the model 'fake-model'" in error_of(refused)["message"]
        assert (await client.post(PATH, json={**BODY, "model": "own"})).status_code == 200

    async def test_neither_renaming_nor_hiding_leads_around_it(self, client, error_of) -> None:
        (model,) = [one for one in (await client.get("/v1/models")).json()["data"] if one["id"] == "fake-model"]
        backend = model["meta"]["backend"]
        real = {"backend": backend, "model": "fake-model"}
        made = [{"alias": "copy", **real}, {"alias": "fake-model", "backend": backend, "model": "nobody"}]
        for document in made:
            assert (await client.post("/bodhi/v1/aliases", json=document)).status_code == 201
        renamed = await client.put("/bodhi/v1/aliases/copy", json={"alias": "moved", **real})
        assert renamed.status_code == 200
        full_name = f"{backend}/fake-model"
        answers = [await client.post(PATH, json={**BODY, "model": name}) for name in ("moved", full_name, "moved")]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "for the model 'fake-model'" in error_of(answers[2])["message"]


class TestStreams:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"user": {"streams": 2}}

    @pytest.mark.parametrize("stream", [True, False])
    async def test_places_are_free_when_callers_leave(
        self, client, fake, extension, eventually, error_of, stream: bool
    ) -> None:
        fake.behave(behave.stall_before_headers())
        body, in_flight = {**BODY, "stream": stream}, extension.gateway.in_flight
        for _ in range(3):
            running = [asyncio.create_task(client.post(PATH, json=body)) for _ in range(2)]
            await eventually(lambda: [record.alias for record in in_flight.values()] == ["fake-model"] * 2)
            response = await client.post(PATH, json=body)
            assert (response.status_code, response.headers["retry-after"]) == (429, "1")
            assert "2 requests at once for each user" in error_of(response)["message"]
            assert ratelimit_headers(response) == {}
            for task in running:
                task.cancel()
            await eventually(lambda: not in_flight)

    async def test_many_one_after_another(self, client) -> None:
        for _ in range(20):
            assert (await client.post(PATH, json=BODY)).status_code == 200
