"""What a notebook's kernel can do with what it is given, and what it cannot."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.live.kernel import Kernel
from tests.live.server import LiveServer, eventually

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
CHOICE = '["amber", "jade", "ruby"]'

GIVEN = {
    "OpenAI": {"OPENAI_BASE_URL", "OPENAI_API_KEY"},
    "Ollama": {"OLLAMA_HOST", "OLLAMA_API_KEY"},
    "Anthropic": {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"},
}
EVERYTHING = set().union(*GIVEN.values())


@pytest.fixture
def kernel(server: LiveServer) -> Iterator[Kernel]:
    with Kernel(server) as running:
        yield running


def code_cells() -> dict[str, str]:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "code"}


def given(environment: dict[str, str]) -> set[str]:
    return EVERYTHING & set(environment)


def test_the_quickstart_runs_from_top_to_bottom(server, kernel):
    outputs = {name: kernel.run(source) for name, source in code_cells().items()}

    assert f"{server.url}/v1/" in outputs["connect"]
    assert outputs["models"].startswith("guide - A tiny model")
    assert outputs["ask"].startswith("I answer questions about bodhi-jupyter")
    assert "written by guide" in outputs["ask"]
    assert "ollama.pull(name)" in outputs["stream"]
    forced = kernel.value("json.loads(answer.choices[0].message.content)")
    assert forced["colour"] in json.loads(CHOICE)
    assert isinstance(forced["sure"], bool)


def test_its_answers_come_from_an_engine(kernel):
    """A word that only the grammar of this very request can lead the model to."""
    cells = code_cells()
    word = f"stone-{secrets.token_hex(6)}"
    assert CHOICE in cells["schema"]
    kernel.run(cells["connect"])

    shown = kernel.run(cells["schema"].replace(CHOICE, json.dumps([word])))

    assert word in shown


def test_longer_prompts_have_more_tokens(kernel):
    kernel.run(code_cells()["connect"])
    ask = "client.chat.completions.create(model='default', messages=[{'role': 'user', 'content': text}], max_tokens=1)"
    texts = ["one two three " * times for times in (1, 4, 16)]

    counts = kernel.value(f"[{ask}.usage.prompt_tokens for text in {texts!r}]")

    once, four_times, sixteen_times = counts
    assert 0 < once < four_times < sixteen_times
    # The same words each time: what they add is in proportion.
    assert (sixteen_times - four_times) == 4 * (four_times - once)


def test_a_kernels_key_opens_our_routes_and_no_others(server, kernel):
    key = kernel.environment()["OPENAI_API_KEY"]

    assert key.startswith("bodhi-")
    assert server.token not in kernel.environment().values()
    assert server.get("/v1/models", key).status_code == 200
    assert server.chat(key=key).status_code == 200
    for path in ("/api/kernels", "/api/contents", "/api/sessions", "/api/config/notebook"):
        assert server.get(path, key).status_code == 403, path
        assert server.get(path).status_code == 200, path


def test_a_kernels_key_sets_no_login_cookie(server, kernel):
    answer = server.get("/v1/models", kernel.environment()["OPENAI_API_KEY"])

    assert "set-cookie" not in answer.headers


def test_the_key_dies_with_its_kernel(server, kernel):
    key = kernel.environment()["OPENAI_API_KEY"]

    kernel.shut_down()

    answer = server.get("/v1/models", key)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_kernel_that_dies_takes_its_key_with_it(server, kernel):
    environment = kernel.environment()
    (process,) = [child for child in server.family() if child.pid == kernel.value("__import__('os').getpid()")]

    process.kill()

    def new_key_only() -> bool:
        # Jupyter looks after its kernels every few seconds, and starts a dead one again.
        return server.get("/v1/models", environment["OPENAI_API_KEY"]).status_code == 401

    eventually(new_key_only, "the end of the dead kernel's key")


def test_a_restart_brings_a_new_key(server, kernel):
    first = kernel.environment()["OPENAI_API_KEY"]

    kernel.restart()

    second = kernel.environment()["OPENAI_API_KEY"]
    assert second != first
    assert server.get("/v1/models", first).status_code == 401
    assert server.get("/v1/models", second).status_code == 200


def test_two_kernels_have_two_keys(server, kernel):
    with Kernel(server) as other:
        assert other.environment()["OPENAI_API_KEY"] != kernel.environment()["OPENAI_API_KEY"]


def test_the_variables_of_all_providers_are_given_and_proxies_are_avoided(server, kernel):
    environment = kernel.environment()

    assert given(environment) == EVERYTHING
    assert environment["OPENAI_BASE_URL"] == f"{server.url}/v1"
    assert environment["OLLAMA_HOST"] == environment["ANTHROPIC_BASE_URL"] == server.url
    for name in ("NO_PROXY", "no_proxy"):
        assert {"127.0.0.1", "localhost"} <= set(environment[name].split(","))


def test_never_means_nothing(start_server):
    server = start_server(config={"BodhiExtension": {"kernel_env": "never"}})
    with Kernel(server) as kernel:
        assert given(kernel.environment()) == set()


@pytest.mark.parametrize(
    ("variable", "provider"),
    [("OPENAI_API_KEY", "OpenAI"), ("ANTHROPIC_API_KEY", "Anthropic"), ("OLLAMA_HOST", "Ollama")],
)
def test_what_the_user_has_set_stays(start_server, variable, provider):
    mine = "http://127.0.0.1:1" if variable.endswith("HOST") else "sk-mine"
    server = start_server(env={variable: mine})
    with Kernel(server) as kernel:
        environment = kernel.environment()

    assert environment[variable] == mine
    assert given(environment) == (EVERYTHING - GIVEN[provider]) | ({variable} & EVERYTHING)
    assert f"{variable} is set, so kernels keep their own {provider} settings" in server.log()


def test_always_replaces_what_the_user_has_set(start_server):
    server = start_server(config={"BodhiExtension": {"kernel_env": "always"}}, env={"OPENAI_API_KEY": "sk-mine"})
    with Kernel(server) as kernel:
        environment = kernel.environment()

    assert given(environment) == EVERYTHING
    assert "sk-mine" not in environment.values()


def test_the_backends_key_never_reaches_a_kernel(start_server):
    env: dict[str, Any] = {
        "BODHI_BACKEND_API_KEY": "backend-secret",
        "BODHI_LIMITS_STORAGE": "redis://redis",
        "OPENAI_API_KEY": "sk-mine",
    }
    server = start_server(env=env)
    with Kernel(server) as kernel:
        environment = kernel.environment()

    assert not {"BODHI_BACKEND_API_KEY", "BODHI_LIMITS_STORAGE"} & set(environment)
    assert not [name for name, value in environment.items() if "backend-secret" in value]
    assert "backend-secret" not in server.log()
