"""``/bodhi/v1/usage``, ``/bodhi/v1/errors/recent`` and ``/metrics``, as a server has them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME

from bodhi_jupyter.telemetry.ledger_file import PATTERN
from bodhi_jupyter.wire.answers_usage import FailureList, Usage
from tests.fakes import behaviours as behave

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


async def test_a_request_is_in_the_usage_at_once(client, fake) -> None:
    await client.post(PATH, json=BODY, headers={"User-Agent": "OpenAI/Python 2.8.0"})
    found = (await client.get("/bodhi/v1/usage", params={"by": "alias,client,endpoint"})).json()
    Usage.model_validate(found)
    assert found["totals"]["requests"] == 1
    (step,) = found["series"]
    assert (step["alias"], step["client"], step["endpoint"]) == ("fake-model", "openai-python", f"POST {PATH}")
    assert (step["prompt_tokens"], step["completion_tokens"]) == (30, 5)
    times = found["groups"][0]["times"]
    assert (times["seconds"]["count"], times["lease_seconds"]["count"]) == (1, 0)


async def test_asking_for_it_is_no_usage(client) -> None:
    for _ in range(3):
        found = (await client.get("/bodhi/v1/usage")).json()
    assert found["totals"]["requests"] == 0
    assert found["by"] == ["alias"]


async def test_as_csv(client) -> None:
    await client.post(PATH, json=BODY)
    response = await client.get("/bodhi/v1/usage", params={"format": "csv", "bucket": "hour"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    (line,) = csv.DictReader(io.StringIO(response.text))
    assert (line["alias"], line["requests"]) == ("fake-model", "1")


@pytest.mark.parametrize("query", ["bucket=minute", "by=content", "since=yesterday", "nonsense=1"])
async def test_what_makes_no_sense_is_refused_by_name(client, error_of, query) -> None:
    response = await client.get(f"/bodhi/v1/usage?{query}")
    assert response.status_code == 400
    assert error_of(response)["param"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/bodhi/v1/usage", 401), ("/bodhi/v1/errors/recent", 401), ("/metrics", 403)],  # the last is Jupyter's
)
async def test_who_has_no_key_sees_nothing(server_url, path, status) -> None:
    async with httpx.AsyncClient(base_url=server_url, trust_env=False) as nobody:
        assert (await nobody.get(path)).status_code == status


async def test_the_last_failures_say_what_to_do_and_nothing_of_what_was_said(client, fake) -> None:
    fake.script = [behave.error_event_mid_stream()]
    secret = {"role": "user", "content": "a secret"}
    wrong = await client.post(PATH, json={"model": "fake-model", "messages": [secret, {"role": "nobody"}]})
    broken = await client.post(PATH, json={**BODY, "messages": [secret], "stream": True})
    await client.post(PATH, json=BODY)
    response = await client.get("/bodhi/v1/errors/recent")
    FailureList.model_validate(response.json())
    last, first = response.json()["data"]
    assert [first["request_id"], last["request_id"]] == [answer.headers["x-request-id"] for answer in (wrong, broken)]
    assert (first["field"], first["status"], first["dialect"], first["client"]) == (
        *("messages[1].role", 400, "openai", "httpx"),
    )
    assert (last["status"], last["end"], last["error"]) == (200, "failed", "backend_failed")
    assert "backend's own log" in last["advice"]
    assert "secret" not in response.text


async def test_metrics_are_on_jupyters_own_page(client) -> None:
    await client.post(PATH, json={**BODY, "stream": True})
    text = (await client.get("/metrics")).text
    for name in (
        "bodhi_requests_total",
        "bodhi_request_duration_seconds_bucket",
        "bodhi_time_to_first_token_seconds_bucket",
        "bodhi_streams_open",
        "bodhi_queue_length",
        "bodhi_engine_processes",
        "http_request_duration_seconds",  # Jupyter's own
    ):
        assert f"\n{name}" in text
    for internal in ("127.0.0.1", "backend-secret", "/tmp"):
        assert internal not in text.replace("http_request_duration_seconds", "")


async def test_a_stream_that_is_open_is_counted(client, fake) -> None:
    async def open_streams() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("bodhi_streams_open{"))

    fake.script = [behave.stall_mid_stream()]
    async with client.stream("POST", PATH, json={**BODY, "stream": True}) as response:
        chunks = response.aiter_raw()
        await anext(chunks)
        assert await open_streams() == 1
        async for _ in chunks:  # the backend's silence becomes an error, and the end
            pass
    assert await open_streams() == 0


async def test_unknown_paths_and_models_make_no_series(client) -> None:
    async def series() -> int:
        lines = (await client.get("/metrics")).text.splitlines()
        return len([line for line in lines if line.startswith("bodhi_") and "_created" not in line])

    async def unknown(name: str) -> None:
        await client.post(f"/v1/{name}", json={})
        await client.get(f"/v1/models/{name}")
        await client.post(PATH, json={**BODY, "model": name})
        await client.post(PATH, json={**BODY, "logit_bias": {name: "x"}})
        await client.post("/bodhi/v1/aliases", json={"alias": "a", name: 1})

    await unknown("name-0")
    before = await series()
    for number in range(1, 20):
        await unknown(f"name-{number}")
    assert await series() == before


class TestKernel:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "kernel_env": "never"}

    async def test_a_kernels_requests_are_its_notebooks(self, client, extension, jp_serverapp, server_url) -> None:
        sessions = jp_serverapp.session_manager
        session = await sessions.create_session(
            path="lessons/one.ipynb", name="one", type="notebook", kernel_name=NATIVE_KERNEL_NAME
        )
        kernel = session["kernel"]["id"]
        try:
            key = extension.gateway.keys.mint(f"kernel:{kernel}")
            async with httpx.AsyncClient(
                base_url=server_url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
            ) as notebook:
                await notebook.post(PATH, json=BODY)
            found = (await client.get("/bodhi/v1/usage", params={"by": "kernel,notebook"})).json()
            assert [(step["kernel"], step["notebook"]) for step in found["series"]] == [(kernel, "lessons/one.ipynb")]
        finally:
            await jp_serverapp.kernel_manager.shutdown_all(now=True)


class TestWithoutLedger:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "ledger": False}

    async def test_nothing_is_written_and_the_rest_works(self, client, error_of, jp_data_dir: Path) -> None:
        assert (await client.post(PATH, json=BODY)).status_code == 200
        response = await client.get("/bodhi/v1/usage")
        assert response.status_code == 404
        assert "c.BodhiExtension.ledger" in error_of(response)["message"]
        assert not (jp_data_dir / "bodhi" / "ledger").exists()
        assert (await client.get("/bodhi/v1/errors/recent")).json()["data"][0]["status"] == 404


class TestUnwritable:
    async def test_no_request_notices(self, client, jp_data_dir: Path, caplog) -> None:
        (jp_data_dir / "bodhi").mkdir(exist_ok=True)
        (jp_data_dir / "bodhi" / "ledger").write_text("a file where a folder should be")
        for _ in range(5):
            assert (await client.post(PATH, json=BODY)).status_code == 200
        found = (await client.get("/bodhi/v1/usage")).json()
        assert (found["totals"]["requests"], found["files_read"]) == (0, 0)
        assert caplog.text.count("The ledger cannot be written") == caplog.text.count("BodhiExtension:ledger.py") == 1
        failures = [
            line
            for line in (await client.get("/metrics")).text.splitlines()
            if line.startswith("bodhi_ledger_write_failures_total")
        ]
        assert float(failures[0].split()[-1]) >= 1


class TestEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {"max_loaded_models": 1, "keep_alive": 3600}

    @pytest.fixture
    def models(self, jp_data_dir: Path) -> None:
        from tests.tiny_random import write_tiny_random

        folder = jp_data_dir / "bodhi" / "models"
        folder.mkdir(parents=True)
        for number, name in enumerate(("one", "two")):
            write_tiny_random(folder / f"{name}.gguf", seed=number)

    async def test_its_own_metrics_are_beside_ours_and_keep_nothing_loaded(
        self, models, client, extension, eventually
    ) -> None:
        body = {**BODY, "model": "one", "max_tokens": 2}
        assert (await client.post(PATH, json=body)).status_code == 200
        pool = extension.gateway.pool
        used = pool._residents.by_name["one"].last_used

        text = ""
        while "llamacpp:" not in text:
            text = (await client.get("/metrics")).text
        assert 'llamacpp:prompt_tokens_total{model="one"}' in text
        assert 'bodhi_engine_load_seconds_count{model="one"} 1.0' in text
        (line,) = [line for line in text.splitlines() if line.startswith('bodhi_engine_memory_bytes{model="one"}')]
        assert float(line.split()[-1]) > 10**6
        assert pool._residents.by_name["one"].last_used == used

        # A second model takes the only place.
        assert (await client.post(PATH, json={**body, "model": "two"})).status_code == 200
        text = (await client.get("/metrics")).text
        assert 'bodhi_engine_evictions_total{model="one"} 1.0' in text
        assert "bodhi_engine_processes 1.0" in text
        assert '{model="one"}' not in "".join(line for line in text.splitlines() if line.startswith("llamacpp:"))


async def test_the_servers_end_writes_what_waits(client, extension) -> None:
    await client.post(PATH, json=BODY)
    folder = extension.gateway.ledger.folder
    await extension.stop_extension()
    assert len(list(folder.glob(PATTERN))) == 1
