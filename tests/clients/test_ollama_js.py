"""Ollama's JavaScript client as it comes, run by Node, against live servers.

Skipped without Node and a folder in which ``npm install ollama`` was run (`BODHI_OLLAMA_JS`), unless that variable says
that they have to be there.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PULLED
from tests.fakes import behaviours
from tests.fakes.background import BackgroundFake
from tests.live.server import LiveServer, run

SCRIPT = Path(__file__).with_name("ollama_js") / "ask.mjs"
FOLDER = os.environ.get("BODHI_OLLAMA_JS", "")

pytestmark = pytest.mark.skipif(not FOLDER, reason="BODHI_OLLAMA_JS does not name a folder with npm's ollama")


def ask(server: LiveServer, *cases: str, **env: str) -> dict[str, Any]:
    """What the client answered or threw, by case: those named, or all that need no failing backend."""
    node = shutil.which("node")
    assert node, "BODHI_OLLAMA_JS is set, but there is no Node"
    variables = {"OLLAMA_HOST": server.url, "OLLAMA_API_KEY": server.token, "PULLED": PULLED, "BODHI_OLLAMA_JS": FOLDER}
    ended = run([node, str(SCRIPT), *cases], {**server.environment, **variables, **env}, SCRIPT.parent)
    assert ended.returncode == 0, ended.stderr
    assert "invalid json" not in ended.stderr, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def told(stocked_server: LiveServer) -> dict[str, Any]:
    return ask(stocked_server)


def error_of(answer: dict[str, Any]) -> tuple[str, int | None]:
    assert set(answer) == {"error", "name", "status"}, answer
    assert "[object Object]" not in answer["error"]
    return answer["error"], answer["status"]


def test_version(told):
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["version"]["version"])


def test_list(told):
    models = {model["name"].removesuffix(":latest"): model for model in told["list"]["models"]}

    assert {"tiny-random", "found", "caller"} <= set(models)
    assert models["found"]["size"] > 100_000
    assert models["found"]["details"]["family"] == "llama"


def test_show(told):
    assert "completion" in told["show"]["capabilities"]
    assert told["show"]["model_info"]["llama.context_length"] >= 2048


def test_ps(told):
    running = {model["name"].removesuffix(":latest"): model for model in told["ps"]["models"]}

    assert running["tiny-random"]["expires_at"]
    assert running["tiny-random"]["context_length"] >= 2048


@pytest.mark.parametrize("case", ["chat", "logprobs", "toolResult"])
def test_chat(told, case):
    answer = told[case]

    assert answer["done"] is True
    assert answer["model"] == "tiny-random"
    assert answer["message"]["role"] == "assistant"
    assert 1 <= answer["eval_count"] <= 8
    assert 0 < answer["load_duration"] <= answer["total_duration"]


def test_stream(told):
    *parts, last = told["stream"]

    assert len(parts) > 1
    assert "".join(part["message"]["content"] for part in [*parts, last]) == told["chat"]["message"]["content"]
    assert (last["done"], last["eval_count"]) == (True, told["chat"]["eval_count"])


def test_tools(told):
    for last in (told["tools"], told["toolsStreamed"][-1]):
        assert last["done"] is True
        call = last["message"]["tool_calls"][0]["function"]
        assert call["name"] == "weather"
        assert call["arguments"]["city"] in {"Oslo", "Rome"}


def test_a_schema_is_enforced(told):
    assert json.loads(told["structured"]["message"]["content"])["city"] in {"Oslo", "Rome"}


def test_logprobs(told):
    tokens = told["logprobs"]["logprobs"]

    assert "".join(token["token"] for token in tokens) == told["logprobs"]["message"]["content"]
    assert {len(token["top_logprobs"]) for token in tokens} == {2}


def test_load(told):
    assert told["load"]["done_reason"] == "load"


def test_generate(told):
    *parts, last = told["generateStreamed"]

    assert told["generate"]["response"].strip()
    assert "".join(part["response"] for part in [*parts, last]) == told["generate"]["response"]
    assert last["done"] is True
    assert all(isinstance(token, int) for token in last["context"])
    assert told["generateRaw"]["prompt_eval_count"] < last["prompt_eval_count"]
    assert "context" not in told["generateRaw"]


def test_embed(told):
    vectors = told["embed"]["embeddings"]

    assert [len(vector) for vector in vectors] == [64, 64]
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-4) for vector in vectors)
    assert len(told["embeddings"]["embedding"]) == 64


def test_create_copy_and_delete(told):
    assert told["create"] == {"status": "success"}
    assert told["createStreamed"][-1] == {"status": "success"}
    assert told["copied"]["system"] == "Sing.", "creating again replaces"
    assert {told[case]["status"] for case in ("copy", "deletePoet", "deleteBard")} == {"success"}


def test_pull(told):
    steps = told["pull"]

    assert [steps[0]["status"], steps[-1]["status"]] == ["pulling manifest", "success"]
    assert any(step.get("completed") == step.get("total", 0) > 100_000 for step in steps)
    assert told["pullAgain"] == told["deletePulled"] == {"status": "success"}


@pytest.mark.parametrize(
    ("case", "status", "text"),
    [
        ("unknown", 404, r"model 'nobody-has-this' not found"),
        ("unknownStreamed", 404, r"model 'nobody-has-this' not found"),
        ("deleteUnknown", 404, r"model 'nobody-has-this' not found"),
        ("badOption", 500, r'option "temperature" must be of type float32'),
        ("think", 400, r'"tiny-random" does not support thinking'),
        ("image", 400, r".*tiny-random.*"),
        ("suffix", 400, r".*does not support insert"),
        ("wrongKey", 401, r".+"),
    ],
)
def test_errors(told, case, status, text):
    said, told_status = error_of(told[case])

    assert told_status == status
    assert re.fullmatch(text, said)


def test_what_the_hub_has_not_is_not_pulled(told):
    said, _ = error_of(told["pullUnknown"])

    assert said
    assert said != "Did not receive done or success response in stream."


# -- a backend that fails on command -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "death",
    [behaviours.die_mid_chunk(), behaviours.die_without_finish(), behaviours.error_event_mid_stream()],
    ids=["mid chunk", "no finish", "error event"],
)
def test_a_backend_that_dies_in_mid_stream(fake_server, backend: BackgroundFake, death):
    backend.behave(death)
    failed = ask(fake_server, "untilItFails", MODEL="default")["untilItFails"]

    assert failed["content"] == "Once upon"
    assert failed["error"]
    # What the client says of a stream that just ends; the server has to say what happened.
    assert failed["error"] != "Did not receive done or success response in stream."
    assert backend.fake.url not in failed["error"]


def test_thinking_has_a_field_of_its_own(fake_server, backend: BackgroundFake):
    backend.behave(behaviours.thinking())
    told = ask(fake_server, "chat", "stream", MODEL="default")

    for parts in ([told["chat"]], told["stream"]):
        assert "".join(part["message"].get("thinking", "") for part in parts) == "Let me think."
        assert "".join(part["message"]["content"] for part in parts) == "Once upon a time é日🦙"


def test_a_stream_that_is_aborted_stops_the_generation(fake_server, backend: BackgroundFake):
    backend.behave(behaviours.never_ending())
    first = ask(fake_server, "abort", MODEL="default")["abort"]

    assert first["done"] is False
    backend.wait_until_client_left()
