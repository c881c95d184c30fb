"""Aliases of what is not on this machine: made, with a word on the problem, and refused with the reason."""

from typing import Any

import pytest

from tests.handlers.aliases import CHAT, PATH, chat, models, url
from tests.tiny_random import write_tiny_random


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"path": "later.gguf"}, "path", "the model's file 'later.gguf' is not on this machine"),
        ({"path": "/a/secret/later.gguf"}, "path", "the model's file 'later.gguf' is not on this machine"),
        (
            {"repo": "org/name", "filename": "q.gguf"},
            "filename",
            "the model's file 'q.gguf' is not on this machine",
        ),
        ({"backend": "gpu-bxo", "model": "m"}, "backend", "no server called 'gpu-bxo' is configured"),
        (
            {"path": "found.gguf", "context_params": {"mmproj": "eye.gguf"}},
            "context_params.mmproj",
            "the file 'eye.gguf' is not on this machine",
        ),
        (
            {"path": "found.gguf", "context_params": {"lora": ["found.gguf", "x" * 5000]}},
            "context_params.lora[1]",
            "name too long",
        ),
    ],
)
async def test_an_alias_of_what_is_not_here_is_made_and_its_problem_told(client, model, fields, param, reason) -> None:
    made = await client.post(PATH, json={"alias": "mine", **fields})
    assert made.status_code == 201
    assert made.json()["problem_param"] == param
    assert reason in made.json()["problem"]
    assert "secret" not in made.json()["problem"]
    shown = await client.get(url("mine"))
    (listed,) = (await client.get(PATH)).json()["data"]
    changed = await client.put(url("mine"), json={**shown.json(), "tags": ["x"]})
    assert changed.status_code == 200
    for answer in (shown.json(), listed, changed.json()):
        assert (answer["problem"], answer["problem_param"]) == (made.json()["problem"], param)


@pytest.mark.parametrize("name", ["mine", "org/mine:q4"])
async def test_who_asks_for_an_alias_that_was_edited_wrongly_is_told_where(
    client, model, jp_data_dir, error_of, name
) -> None:
    assert (await client.post(PATH, json={"alias": name, "path": "found.gguf"})).status_code == 201
    (file,) = (jp_data_dir / "bodhi" / "aliases").glob("*.yaml")
    file.write_text(f"alias: {name}\npath: found.gguf\ncontext_params: {{n_ctx: many}}\n")
    await client.get("/v1/models?refresh=true")
    asked = {"model": name, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    answer = await client.post(CHAT, json=asked)
    assert answer.status_code == 404
    said = f"cannot be used: its file {file.name}, line 3: context_params.n_ctx: expected an integer."
    assert said in error_of(answer)["message"]


async def test_who_asks_for_the_alias_is_told_what_is_missing(client, model, error_of) -> None:
    await client.post(PATH, json={"alias": "mine", "path": "later.gguf"})
    assert "mine" not in await models(client)
    asked = {"model": "Mine:latest", "messages": [{"role": "user", "content": "x"}]}
    reason = "the model's file 'later.gguf' is not on this machine"
    answer = await client.post(CHAT, json=asked)
    assert answer.status_code == 404
    assert f"The alias 'mine' cannot be used: {reason}." in error_of(answer)["message"]
    assert error_of(answer)["code"] == "model_not_found"
    ollama = await client.post("/api/chat", json=asked)
    assert (ollama.status_code, ollama.json()["error"]) == (404, f"model 'Mine:latest' not found: {reason}")
    anthropic = await client.post("/v1/messages", json={**asked, "max_tokens": 1})
    assert anthropic.status_code == 404
    assert reason in anthropic.json()["error"]["message"]


async def test_once_the_file_has_come_nothing_is_said_of_it(client, model, jp_data_dir) -> None:
    await client.post(PATH, json={"alias": "mine", "path": "later.gguf"})
    write_tiny_random(jp_data_dir / "bodhi" / "models" / "later.gguf", seed=2)
    assert "problem" not in (await client.get(url("mine"))).json()
    await chat(client, "mine", max_tokens=1)
    # And when it goes again, that is told, too.
    (jp_data_dir / "bodhi" / "models" / "later.gguf").unlink()
    assert "problem" in (await client.get(url("mine"))).json()
