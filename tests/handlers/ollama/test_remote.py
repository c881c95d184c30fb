"""Ollama's routes in front of a configured server: what it reports, what it refuses, how it fails."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.handlers.ollama import answering, embed
from bodhi_jupyter.wire import ollama_messages
from bodhi_jupyter.wire.errors import EngineGone
from tests.fakes import behaviours as behave
from tests.fakes.llama import FakeLlama
from tests.tiny_random import write_tiny_random

HELLO = {"role": "user", "content": "hello"}
CHAT: dict[str, Any] = {"model": "fake-model", "messages": [HELLO]}
SECRETS = ("127.0.0.1", "http://", "backend-secret", "Traceback", "/tmp")


@pytest.fixture
def bodhi_config(bodhi_config) -> dict[str, Any]:
    # An engine of our own answers here too, and a busy machine is slow.
    return {**bodhi_config, "read_timeout": 3.0}


def said(answer: Any) -> str:
    (text,) = answer.json().values()
    assert isinstance(text, str)
    assert not any(secret in answer.text for secret in SECRETS)
    return text


async def test_what_the_server_reports_is_shown(client, fake) -> None:
    template = "{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}<think>{% endif %}"
    properties = {"chat_template": template, "default_generation_settings": {"n_ctx": 2048}}
    fake.routes["/props"] = lambda exchange: exchange.send_json(200, properties)
    shown = (await client.post("/api/show", json={"model": "fake-model"})).json()
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert shown["template"] == template
    # The context that a request has there, under the key that clients look for.
    architecture = shown["model_info"]["general.architecture"]
    assert shown["model_info"][f"{architecture}.context_length"] == 4096
    assert shown["model_info"]["general.parameter_count"] == 278720
    assert shown["details"]["parameter_size"] == "278.7K"
    (tag,) = (
        model for model in (await client.get("/api/tags")).json()["models"] if model["name"] == "fake-model:latest"
    )
    assert (tag["model"], len(tag["digest"])) == ("fake-model:latest", 64)
    assert tag["details"] == shown["details"]


@pytest.mark.parametrize("created", [1_700_000_000_000, -1, 10**400, 1e300, "yesterday"])
async def test_a_date_that_is_none_hides_no_model(client, fake, created) -> None:
    listed = {"data": [{"id": "odd", "created": created}, {"id": "even", "created": 1_700_000_000}]}
    fake.routes["/v1/models"] = lambda exchange: exchange.send_json(200, listed)
    models = {one["name"]: one["modified_at"] for one in (await client.get("/api/tags")).json()["models"]}
    assert (models["odd:latest"][:10], models["even:latest"][:10]) == ("1970-01-01", "2023-11-14")
    assert (await client.post("/api/show", json={"model": "odd"})).status_code == 200


@pytest.mark.parametrize("told", [None, 7, "completion", {"completion": True}, [1, None]])
async def test_what_are_no_capabilities_are_none(client, fake, told) -> None:
    listed = {
        "data": [
            {"id": "odd", "meta": {"capabilities": told}},
            {"id": "even", "meta": {"capabilities": ["completion"]}},
        ],
        "models": [{"name": "odd", "capabilities": told}],
    }
    fake.routes["/v1/models"] = lambda exchange: exchange.send_json(200, listed)
    answer = await client.get("/v1/models?capability=completion")
    assert answer.status_code == 200
    assert "even" in [model["id"] for model in answer.json()["data"]]
    (odd,) = [model for model in (await client.get("/v1/models")).json()["data"] if model["id"] == "odd"]
    assert "capabilities" not in odd["meta"]
    assert (await client.get("/api/tags")).status_code == 200
    assert (await client.post("/api/show", json={"model": "odd"})).status_code == 200


async def test_a_server_without_properties_is_shown_all_the_same(client, fake) -> None:
    del fake.routes["/props"]
    shown = (await client.post("/api/show", json={"model": "fake-model"})).json()
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"]["general.architecture"] == "unknown"


async def test_copilot_is_told_the_name_that_it_asked_for(client) -> None:
    headers = {"User-Agent": "GitHubCopilotChat/0.31"}
    shown = await client.post("/api/show", json={"model": "Fake-Model"}, headers=headers)
    assert shown.json()["model_info"]["general.basename"] == "Fake-Model"


async def test_what_is_forwarded(client, fake) -> None:
    body = {**CHAT, "options": {"top_k": 7, "num_ctx": 9999, "num_gpu": 1}, "format": "json", "keep_alive": "1m"}
    assert (await client.post("/api/chat", json=body)).status_code == 200
    sent = fake.requests[-1].body
    assert sent["model"] == "fake-model"
    assert (sent["top_k"], sent["top_p"], sent["min_p"], sent["temperature"]) == (7, 0.9, 0.0, 0.8)
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["max_tokens"] == 10 * 4096
    assert not {"options", "format", "keep_alive", "num_ctx", "num_gpu"} & set(sent)


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (behave.refuse, 503, "cannot be"),
        (behave.status(500), 500, "failed: as scripted"),
        (behave.status(429), 503, "server busy, please try again.  maximum pending requests exceeded"),
        (behave.die_mid_chunk(), 500, "model runner has unexpectedly stopped"),
        (behave.stall_before_headers(), 504, "silent"),
    ],
    ids=["refused", "500", "busy", "death", "silence"],
)
async def test_failures_of_a_whole_answer(client, fake, failure, status, text) -> None:
    fake.behave(failure)
    answer = await client.post("/api/chat", json={**CHAT, "stream": False})
    assert answer.status_code == status, answer.text
    assert text in said(answer)


async def test_a_failure_in_mid_stream_is_the_last_line(client, fake) -> None:
    fake.behave(behave.die_mid_chunk())
    answer = await client.post("/api/chat", json=CHAT)
    assert answer.status_code == 200
    *parts, last = (json.loads(line) for line in answer.text.splitlines())
    assert "".join(part["message"]["content"] for part in parts) == "Once upon"
    assert list(last) == ["error"]
    assert not any(secret in answer.text for secret in SECRETS)


def asked_for_chats(fake: FakeLlama) -> list[dict[str, Any]]:
    return [request.body for request in fake.requests if request.path == "/v1/chat/completions"]


OVERFLOW = {"type": "exceed_context_size_error", "message": "too long", "code": 400}


async def test_an_answer_that_has_begun_does_not_begin_again(client, fake) -> None:
    report = behave.event({"error": {**OVERFLOW, "n_prompt_tokens": 10, "n_ctx": 5}})
    fake.behave(behave.stream([*behave.chat_events()[:2], report]))
    body = {**CHAT, "messages": [HELLO, {"role": "assistant", "content": "a"}, HELLO], "truncate": True}
    answer = await client.post("/api/chat", json=body)
    said, last = (json.loads(line) for line in answer.text.splitlines())
    assert said["message"]["content"] == "Once"
    assert "maximum context length" in last["error"]
    assert len(asked_for_chats(fake)) == 1
    assert (await client.post("/api/chat", json={**body, "stream": False})).status_code == 400
    assert len(asked_for_chats(fake)) == 2


async def test_a_long_chat_is_shortened_in_few_steps(client, fake) -> None:
    async def count(exchange: Any) -> None:
        tokens = sum(len(message["content"]) for message in exchange.request.body["messages"])
        if tokens < 20_000:
            await behave.ok()(exchange)
        else:
            error = {**OVERFLOW, "n_prompt_tokens": tokens, "n_ctx": 20_000}
            await exchange.send_json(400, {"error": error})

    fake.behave(count)
    system = {"role": "system", "content": "Hm."}
    messages = [system, *({"role": "user", "content": "x" * (50 + number % 7 * 100)} for number in range(200)), HELLO]
    answer = await client.post("/api/chat", json={**CHAT, "messages": messages, "truncate": True})
    assert answer.status_code == 200
    assert 1 < len(asked_for_chats(fake)) <= 4
    sent = fake.requests[-1].body["messages"]
    assert [sent[0], sent[-1]] == [system, HELLO]
    # No more than was too much.
    assert sum(len(message["content"]) for message in sent) > 18_000


async def test_what_is_no_token_is_no_answer(client, fake) -> None:
    choice = {"index": 0, "finish_reason": None, "delta": {"content": "x"}, "logprobs": {"content": ["x"]}}
    fake.behave(behave.stream([behave.event({"choices": [choice]})]))
    answer = await client.post("/api/chat", json={**CHAT, "logprobs": True})
    assert answer.status_code == 500
    assert said(answer) == "The backend 'backend' sent an event that is no part of an answer."


async def test_images_are_looked_at_once(client, fake, monkeypatch) -> None:
    looked_at: list[str] = []
    media_part = ollama_messages._media_part
    monkeypatch.setattr(
        ollama_messages, "_media_part", lambda image, field: looked_at.append(field) or media_part(image, field)
    )
    options = {"top_k": 7, "repeat_last_n": -1}
    image = {"images": ["iVBORw0KGgo="]}
    chat = {**CHAT, "messages": [{**HELLO, **image}], "options": options}
    assert (await client.post("/api/chat", json=chat)).status_code == 200
    generate = {"model": "fake-model", "prompt": "x", **image, "options": options}
    assert (await client.post("/api/generate", json=generate)).status_code == 200
    assert looked_at == ["messages[0].images[0]", "images[0]"]
    # What depends on the context is said in its terms.
    assert [request.body["repeat_last_n"] for request in fake.requests[-2:]] == [4096, 4096]


async def test_long_answers_are_put_together_off_the_loop(client, fake, monkeypatch) -> None:
    threads: list[threading.Thread] = []
    whole_answer = answering.whole_answer
    monkeypatch.setattr(
        answering,
        "whole_answer",
        lambda lines: threads.append(threading.current_thread()) or whole_answer(lines),
    )
    fake.script = [behave.ok("x" * 200_000), behave.ok("x")]
    for _ in range(2):
        answer = await client.post("/api/chat", json={**CHAT, "stream": False})
        assert set(answer.json()["message"]["content"]) == {"x"}
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


async def test_pings_of_the_backend_are_no_lines(client, fake) -> None:
    events = behave.chat_events()
    fake.behave(behave.stream([b": ping\n\n", events[0], b":\n\n", *events[1:]]))
    answer = await client.post("/api/chat", json=CHAT)
    lines = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    assert "".join(line["message"]["content"] for line in lines) == "".join(behave.WORDS)
    assert [line["done"] for line in lines].index(True) == len(lines) - 1


async def test_arguments_that_are_no_json_end_in_an_error(client, fake) -> None:
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    events = behave.chat_events()
    fake.behave(behave.stream([behave.chat_chunk({"tool_calls": [call]}), *events[-3:]]))
    body = {**CHAT, "tools": [{"type": "function", "function": {"name": "f"}}]}
    answer = await client.post("/api/chat", json=body)
    assert "not a JSON object" in json.loads(answer.text.splitlines()[-1])["error"]


def offer(fake, *models: str) -> None:
    entries = [{"id": model, "object": "model", "created": 1, "owned_by": "x"} for model in models]
    fake.routes["/v1/models"] = lambda exchange: exchange.send_json(200, {"object": "list", "data": entries})


async def test_models_are_reached_by_the_names_that_they_are_listed_with(client, fake) -> None:
    offer(fake, "/models/foo.gguf", "C:\\models\\foo.gguf", "my model (1)", "Ünï", "@cf/x")
    await client.get("/v1/models?refresh=true")
    listed = [model["model"] for model in (await client.get("/api/tags")).json()["models"] if model["size"] == 0]
    assert len(listed) == 5
    for name in listed:
        assert (await client.post("/api/show", json={"model": name})).status_code == 200
        assert (await client.post("/api/chat", json={**CHAT, "model": name, "stream": False})).status_code == 200
        assert fake.requests[-1].body["model"] == name.removesuffix(":latest")


async def test_a_servers_model_is_not_confused_with_an_alias_of_its_name(
    client, fake, extension, jp_data_dir: Path
) -> None:
    models, aliases = (jp_data_dir / "bodhi" / folder for folder in ("models", "aliases"))
    for folder in (models, aliases):
        folder.mkdir(parents=True)
    write_tiny_random(models / "m.gguf", seed=1)
    mine = aliases / "twin.yaml"
    mine.write_text("alias: twin\npath: m.gguf\ncontext_params: {n_ctx: 512}\nrequest_params: {system_prompt: mine}\n")
    offer(fake, "twin")
    await client.get("/v1/models?refresh=true")
    pool = extension.gateway.pool

    chat = {**CHAT, "stream": False, "options": {"num_predict": 2, "num_ctx": 1024}}
    assert (await client.post("/api/chat", json={**chat, "model": "twin"})).status_code == 200
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = await client.post(path, json={**CHAT, "stream": False, "model": "backend/twin"})
        assert answer.status_code == 200, answer.text
    for path in ("/api/generate", "/api/embed"):
        await client.post(path, json={"model": "backend/twin", "keep_alive": 0})
    assert {name: state.state for name, state in pool.states().items()} == {"twin": "loaded"}

    copied = await client.post("/api/copy", json={"source": "backend/twin", "destination": "copied"})
    assert copied.status_code == 200
    assert (aliases / "copied.yaml").read_text().splitlines() == ["alias: copied", "backend: backend", "model: twin"]
    refused = await client.request("DELETE", "/api/delete", json={"model": "backend/twin"})
    assert refused.status_code == 403
    assert "belongs to the configured server" in said(refused)
    assert mine.exists()
    # An alias for the server's model has a name of its own, and none of the pool's business.
    for path in ("/api/generate", "/api/chat"):
        assert (await client.post(path, json={"model": "copied", "keep_alive": 0})).status_code == 200


async def test_a_servers_model_keeps_its_full_name_and_whoever_wants_it_is_told(client, fake) -> None:
    (listed,) = [one for one in (await client.get("/v1/models")).json()["data"] if one["id"] == "fake-model"]
    server = listed["meta"]["backend"]
    taken = f"{server}/fake-model"
    assert (await client.post("/api/copy", json={"source": "fake-model", "destination": "mine"})).status_code == 200
    document = {"backend": server, "model": "another"}
    made = await client.post("/bodhi/v1/aliases", json={"alias": taken, **document})
    assert (made.status_code, made.json()["problem_param"]) == (201, "alias")
    assert f"the alias is asked for as 'aliases/{taken}'" in made.json()["problem"]
    for name, model in ((taken, "fake-model"), (f"aliases/{taken}", "another")):
        await client.post("/v1/chat/completions", json={**CHAT, "model": name})
        assert fake.requests[-1].body["model"] == model
    moved = await client.put("/bodhi/v1/aliases/mine", json={"alias": f"{server}/nobodys", **document})
    assert "problem" not in moved.json()
    await client.post("/bodhi/v1/aliases", json={"alias": "other", **document})
    names: dict[str, dict[str, str]] = {
        "copy": {"source": "other", "destination": taken},
        "create": {"from": "other", "model": taken},
    }
    for path, body in names.items():
        refused = await client.post(f"/api/{path}", json=body)
        assert (refused.status_code, f"has a model called '{taken}'" in refused.json()["error"]) == (400, True)
    # Of the server's own model it says more, and stands for the same.
    created = await client.post("/api/create", json={"model": taken, "from": "fake-model", "system": "Be brief."})
    assert created.status_code == 200
    assert "problem" not in (await client.get(f"/bodhi/v1/aliases/{taken}")).json()


async def test_texts_that_were_embedded_before_a_server_went_are_not_asked_and_counted_again(
    client, extension, monkeypatch
) -> None:
    asked: list[int] = []
    records: list[Any] = []

    async def answered(*arguments: Any, **_: Any) -> dict[str, Any]:
        texts = arguments[4]["input"]
        asked.append(len(texts))
        if len(asked) == 2:
            raise EngineGone("gone")
        data = [{"index": index, "embedding": [1.0, 0.0]} for index in range(len(texts))]
        return {"data": data, "usage": {"prompt_tokens": 2 * len(texts), "total_tokens": 2 * len(texts)}}

    monkeypatch.setattr(embed, "document_at", answered)
    monkeypatch.setattr(extension.gateway.recorder, "record", records.append)

    answer = await client.post("/api/embed", json={"model": "fake-model", "input": ["a hill"] * 150})
    assert len(answer.json()["embeddings"]) == 150
    assert answer.json()["prompt_eval_count"] == 300
    assert asked == [64, 64, 64, 22]
    assert [record.prompt_tokens for record in records if record.prompt_tokens] == [300]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
TOKENS = [{"token": "{", "logprob": -0.5, "bytes": [123], "top_logprobs": []}]


def whole_call(**more: Any) -> behave.Behaviour:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "logprobs": {"content": TOKENS}, "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return behave.status(200, {"object": "chat.completion", "choices": [choice], "usage": usage, **more})


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_beside_tools_come_of_a_whole_answer(client, fake, stream) -> None:
    """llama.cpp refuses a stream of both (measured)."""
    fake.behave(whole_call())
    answer = await client.post("/api/chat", json={**CHAT, "tools": [TOOL], "logprobs": True, "stream": stream})
    assert answer.status_code == 200, answer.text
    told = [json.loads(line) for line in answer.text.splitlines()]
    (call,) = [call for line in told for call in line["message"].get("tool_calls", ())]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("f", {"a": 1})
    assert [token["token"] for line in told for token in line.get("logprobs", ())] == ["{"]
    assert (told[-1]["done"], told[-1]["prompt_eval_count"], told[-1]["eval_count"]) == (True, 7, 3)
    sent = fake.requests[-1].body
    assert not {"stream", "stream_options"} & sent.keys()
    assert (sent["logprobs"], len(sent["tools"])) == (True, 1)


@pytest.mark.parametrize("choices", ["x", [1], [{"message": "x"}], [{"message": {"tool_calls": 1}}], []])
async def test_a_whole_answer_that_is_none_is_a_failure(client, fake, choices) -> None:
    fake.behave(whole_call(choices=choices))
    answer = await client.post("/api/chat", json={**CHAT, "tools": [TOOL], "logprobs": True})
    assert answer.status_code == 500
    assert "The backend 'backend'" in said(answer)


async def test_a_chat_too_long_for_a_whole_answer_loses_its_oldest_messages(client, fake) -> None:
    fake.script = [behave.status(400, {"error": OVERFLOW}), whole_call()]
    messages = [{"role": "user", "content": "x" * 400} for _ in range(20)]
    asked = {**CHAT, "messages": [*messages, HELLO], "tools": [TOOL], "logprobs": True, "truncate": True}
    assert (await client.post("/api/chat", json=asked)).status_code == 200
    assert len(fake.requests[-1].body["messages"]) < 21
