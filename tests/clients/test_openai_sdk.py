"""The OpenAI SDK as it comes, of any major version, against live servers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator

import openai
import pytest

from tests.fakes import behaviours
from tests.fakes.background import BackgroundFake
from tests.live.server import PATIENCE, LiveServer

HELLO = [{"role": "user", "content": "hello"}]


def client_of(server: LiveServer, key: str | None = None) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key or server.token, max_retries=0, timeout=PATIENCE)


@pytest.fixture(autouse=True)
def _no_variables_of_the_developers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def client(engine_server: LiveServer) -> Iterator[openai.OpenAI]:
    with client_of(engine_server) as client:
        yield client


@pytest.fixture
def failing(fake_server: LiveServer) -> Iterator[openai.OpenAI]:
    """A client of the server whose backend fails on command."""
    with client_of(fake_server) as client:
        yield client


# -- models --------------------------------------------------------------------------------------------------


def test_list(client):
    models = list(client.models.list())

    assert [model.id for model in models] == ["tiny-random", "guide", "guide-embed"]
    assert models[0].object == "model"
    assert models[0].created > 1_600_000_000
    assert "knows bodhi-jupyter" in models[1].description


def test_retrieve(client):
    assert client.models.retrieve("tiny-random").id == "tiny-random"


@pytest.mark.parametrize("name", ["nobody/has-this", "qwen3:4b", "mit Leerzeichen é"])
def test_retrieve_what_is_not_there(client, name):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(name)

    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert caught.value.type == "invalid_request_error"
    assert f"The model '{name}' does not exist" in caught.value.body["message"]
    assert caught.value.request_id.startswith("req_")


# -- chats ---------------------------------------------------------------------------------------------------


def test_chat(client):
    answer = client.chat.completions.create(model="default", messages=HELLO, max_tokens=5)

    assert answer.model == "tiny-random"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"length", "stop"}
    assert 1 <= answer.usage.completion_tokens <= 5
    assert answer._request_id.startswith("req_")


def test_a_schema_is_enforced(client):
    word = secrets.token_hex(6)
    schema = {"type": "object", "properties": {"word": {"const": word}}, "required": ["word"]}
    answer = client.chat.completions.create(
        model="default",
        messages=HELLO,
        max_tokens=100,
        response_format={"type": "json_schema", "json_schema": {"name": "word", "schema": schema}},
    )

    assert json.loads(answer.choices[0].message.content)["word"] == word


def test_stream(client):
    with client.chat.completions.create(
        model="default", messages=HELLO, max_tokens=8, seed=1, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)

    *pieces, last = chunks
    assert all(chunk.model == "tiny-random" for chunk in chunks)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert pieces[-1].choices[0].finish_reason in {"length", "stop"}
    assert last.choices == []
    assert 1 <= last.usage.completion_tokens <= 8


def test_a_stream_says_what_the_whole_answer_says(client):
    question = {"model": "default", "messages": HELLO, "max_tokens": 12, "seed": 7, "temperature": 0}

    whole = client.chat.completions.create(**question).choices[0].message.content
    with client.chat.completions.create(**question, stream=True) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]

    assert "".join(pieces) == whole


def test_async(engine_server):
    async def main() -> tuple[str, list[str]]:
        async with openai.AsyncOpenAI(
            base_url=f"{engine_server.url}/v1", api_key=engine_server.token, max_retries=0, timeout=PATIENCE
        ) as client:
            names = [model.id async for model in client.models.list()]
            stream = await client.chat.completions.create(model="default", messages=HELLO, max_tokens=5, stream=True)
            async with stream:
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            return text, names

    text, names = asyncio.run(main())

    assert text
    assert names == ["tiny-random", "guide", "guide-embed"]


def test_several_at_once(engine_server):
    async def main() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"{engine_server.url}/v1", api_key=engine_server.token, max_retries=0, timeout=PATIENCE
        ) as client:
            ask = client.chat.completions.create
            answers = await asyncio.gather(*(ask(model="default", messages=HELLO, max_tokens=3) for _ in range(6)))
            return [answer.id for answer in answers]

    assert len(set(asyncio.run(main()))) == 6


def test_a_stream_that_is_closed_early_stops_the_generation(failing, backend: BackgroundFake):
    backend.behave(behaviours.never_ending())
    stream = failing.chat.completions.create(model="default", messages=HELLO, stream=True)
    next(iter(stream))

    stream.close()

    backend.wait_until_client_left()


def test_after_an_early_close_the_engine_answers_again(client):
    with client.chat.completions.create(model="default", messages=HELLO, max_tokens=3000, stream=True) as stream:
        next(iter(stream))

    assert client.chat.completions.create(model="default", messages=HELLO, max_tokens=2).choices[0].message


# -- errors: one class each ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 7}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ],
)
def test_bad_request(client, more, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "default", "messages": HELLO, **more})

    assert caught.value.status_code == 400
    assert caught.value.param == param
    assert isinstance(caught.value.code, str)
    assert "POST /v1/chat/completions" in caught.value.body["message"]
    assert caught.value.request_id.startswith("req_")


def test_bad_request_of_a_stream_is_no_stream(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="default", messages=[], stream=True)


def test_a_model_that_is_not_there(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="tiny-randm", messages=HELLO)

    assert caught.value.code == "model_not_found"
    assert "Did you mean 'tiny-random'?" in caught.value.body["message"]


def test_an_endpoint_that_is_not_there(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.post("/nowhere", cast_to=object, body={})

    assert caught.value.code == "unknown_url"
    assert "POST /v1/nowhere" in caught.value.body["message"]


def test_an_endpoint_that_only_openai_has(client):
    with pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(prompt="a llama")

    assert caught.value.status_code == 501
    assert "/v1/images" in caught.value.body["message"]


def test_a_wrong_key(engine_server):
    with client_of(engine_server, "wrong") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()

    assert caught.value.code == "invalid_api_key"
    assert caught.value.body["message"].startswith("Incorrect API key provided")


@pytest.mark.parametrize(
    ("prefix", "provider", "variable"),
    [
        ("sk-proj-", "OpenAI", "OPENAI_API_KEY"),
        ("sk-ant-", "Anthropic", "ANTHROPIC_API_KEY"),
        ("gsk_", "Groq", "OPENAI_"),
    ],
)
def test_a_key_of_another_provider(engine_server, prefix, provider, variable):
    key = prefix + "x" * 40
    with client_of(engine_server, key) as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="default", messages=HELLO)

    message = caught.value.body["message"]
    assert provider in message
    assert f"unset {variable}" in message
    assert key not in message


def test_a_backend_that_dies_in_mid_stream(failing, backend: BackgroundFake):
    backend.behave(behaviours.die_mid_chunk())
    text = ""
    stream = failing.chat.completions.create(model="default", messages=HELLO, stream=True)
    with stream, pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""

    assert text == "Once upon"
    assert caught.value.code == "backend_failed"
    assert "closed the connection in the middle of its answer" in caught.value.message


def test_a_backend_that_dies_in_a_whole_answer(failing, backend: BackgroundFake):
    backend.behave(behaviours.die_mid_chunk())
    with pytest.raises(openai.InternalServerError) as caught:
        failing.chat.completions.create(model="default", messages=HELLO)

    assert caught.value.status_code == 502
    assert caught.value.code == "backend_failed"


def test_a_backend_that_is_silent(impatient_server, backend: BackgroundFake):
    backend.behave(behaviours.stall_before_headers())
    with client_of(impatient_server) as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="default", messages=HELLO)

    assert caught.value.status_code == 504
    assert caught.value.code == "backend_timeout"
    backend.wait_until_client_left()


def test_a_backend_that_hangs_up(failing, backend: BackgroundFake):
    backend.behave(behaviours.hang_up)
    with pytest.raises(openai.InternalServerError) as caught:
        failing.chat.completions.create(model="default", messages=HELLO)

    assert (caught.value.status_code, caught.value.code) == (502, "backend_failed")
    assert backend.fake.url not in str(caught.value)


def test_a_backend_that_refuses_the_request(failing, backend: BackgroundFake):
    body = {
        "error": {"code": 400, "message": "the request exceeds the context size", "type": "exceed_context_size_error"}
    }
    backend.behave(behaviours.status(400, body))
    with pytest.raises(openai.BadRequestError) as caught:
        failing.chat.completions.create(model="default", messages=HELLO)

    assert isinstance(caught.value.code, str)
    assert "the request exceeds the context size" in caught.value.body["message"]
