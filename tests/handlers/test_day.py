"""A day of 10,000 requests with every ending: ledger, metrics and clients count the same."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bodhi_jupyter.wire.record import RequestRecord
from tests.fakes import behaviours as behave
from tests.fakes.behaviours import Behaviour

ALL = 10_000
#: Rounds of every kind of request over real HTTP.
ROUNDS = 50
PATH = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "a secret that nobody may keep"}]
BODY: dict[str, Any] = {"model": "fake-model", "messages": MESSAGES}
STREAMED: dict[str, Any] = {**BODY, "stream": True, "stream_options": {"include_usage": True}}

STALLS_AFTER = 3
#: What is sent, how the backend answers (None where it must not be asked), and whether the client leaves.
KINDS: dict[str, tuple[str, dict[str, Any], Behaviour | None, bool]] = {
    "whole": (PATH, BODY, behave.ok(), False),
    "streamed": (PATH, STREAMED, behave.ok(), False),
    "ollama": ("/api/chat", BODY, behave.ok(), False),
    "wrong": (PATH, {**BODY, "temperature": 99}, None, False),
    "no object": (PATH, [], None, False),  # type: ignore[dict-item]
    "wrong for anthropic": ("/v1/messages", BODY, None, False),
    "unknown model": (PATH, {**BODY, "model": "nobody"}, None, False),
    "unknown path": ("/v1/nope", BODY, None, False),
    "upstream error": (PATH, BODY, behave.status(500), False),
    "upstream nonsense": (PATH, STREAMED, behave.non_json_answer(), False),
    "mid-stream failure": (PATH, STREAMED, behave.die_between_chunks(), False),
    "left in mid-stream": (PATH, STREAMED, behave.stall_mid_stream(STALLS_AFTER), True),
}


class Seen(Counter[str]):
    """What the clients saw, as counts by name."""

    def see(
        self, status: int, *, error: str | None = None, usage: tuple[int, int] = (0, 0), left: bool = False
    ) -> None:
        self["requests"] += 1
        self[f"status {status}"] += 1
        self["prompt_tokens"] += usage[0]
        self["completion_tokens"] += usage[1]
        if error is not None:
            self["errors"] += 1
            self[f"error {error}"] += 1
        if left:
            self["disconnects"] += 1

    def plus(self, other: Seen, times: int) -> None:
        for name, count in other.items():
            self[name] += count * times


@pytest.fixture
def bodhi_config(bodhi_config) -> dict[str, Any]:
    return {**bodhi_config, "read_timeout": 60}


@pytest.fixture
def records(extension, monkeypatch) -> list[RequestRecord]:
    """The records of what came over HTTP, the day's requests alone."""
    taken: list[RequestRecord] = []
    record = extension.gateway.recorder.record

    def take(one: RequestRecord) -> None:
        record(one)
        if one.dialect != "bodhi":
            taken.append(one)

    monkeypatch.setattr(extension.gateway.recorder, "record", take)
    return taken


@pytest.fixture
def scrape(client, jp_base_url) -> Callable[[], Awaitable[Counter[str]]]:
    async def counts() -> Counter[str]:
        """What Jupyter's ``/metrics`` counts of ours, under the names of `Seen`."""
        response = await client.get("/metrics")
        assert response.status_code == 200
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(response.text):
            for sample in family.samples:
                if sample.labels.get("dialect") == "bodhi":
                    continue
                for name in _names(sample.name, sample.labels):
                    found[name] += int(sample.value)
        return found

    return counts


def _names(sample: str, labels: dict[str, str]) -> Iterator[str]:
    match sample:
        case "bodhi_requests_total":
            yield "requests"
            yield f"status {labels['status']}"
            if labels["error"]:
                yield "errors"
                yield f"error {labels['error']}"
        case "bodhi_prompt_tokens_total" | "bodhi_completion_tokens_total":
            yield sample.removeprefix("bodhi_").removesuffix("_total")
        case "bodhi_client_disconnects_total":
            yield "disconnects"
        case "bodhi_request_duration_seconds_count":
            yield "durations"
        case "bodhi_stream_duration_seconds_count":
            yield f"streams {labels['end']}"
        case "bodhi_validation_failures_total":
            yield f"field {labels['field']}"
        case "bodhi_upstream_errors_total":
            yield f"upstream {labels['kind']}"


async def ask(client: httpx.AsyncClient, path: str, body: Any, *, leaves: bool, seen: Seen) -> None:
    async with client.stream("POST", path, json=body) as response:
        if leaves:
            text = ""
            async for chunk in response.aiter_text():
                text += chunk
                if _events(text) == STALLS_AFTER:
                    seen.see(response.status_code, left=True, usage=(0, _estimate(text)))
                    return
        text = (await response.aread()).decode()
    seen.see(response.status_code, error=_error(response, text), usage=_usage(path, text))


def _events(text: str) -> int:
    return text.count("data: ")


def _estimate(text: str) -> int:
    """What a stream that was cut off is taken for: a token for each event of its answer."""
    return _events(text) - text.count('"error":{')


def _error(response: httpx.Response, text: str) -> str | None:
    """The error's code, in the body or as the last event."""
    if "x-should-retry" not in response.headers and '"error":{' not in text:
        return None
    found = re.search(r'"code":"(\w+)"', text)
    # Anthropic's errors have no code; the one of the day misses `max_tokens`.
    return found[1] if found else "missing_required_parameter"


def _usage(path: str, text: str) -> tuple[int, int]:
    if path.startswith("/api"):
        last = json.loads(text.strip().splitlines()[-1])
        return last.get("prompt_eval_count", 0), last.get("eval_count", 0)
    if '"error":{' in text and "data: " in text:
        return 0, _estimate(text)
    told = [re.search(rf'"{name}":(\d+)', text) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (int(found[1]) if found else 0 for found in told)
    return prompt, completion


def invented(pattern: list[RequestRecord], count: int) -> Iterator[RequestRecord]:
    """Requests like those that really came, spread over the day before."""
    now = time.time()
    for number, like in zip(range(count), itertools.cycle(pattern), strict=False):
        yield replace(like, request_id=f"req_day_{number}", started=now - 80_000 * (count - number) / count)


async def test_a_day(client, extension, fake, records, scrape, eventually, caplog) -> None:
    before = await scrape()
    seen, first_round = Seen(), Seen()
    for number in range(ROUNDS):
        for path, body, behaviour, leaves in KINDS.values():
            fake.script = [behaviour] if behaviour else []
            done = len(records) + 1
            await ask(client, path, body, leaves=leaves, seen=seen)
            # The next one must not get this one's answer, and a client that left is noticed later.
            await eventually(lambda done=done: len(records) == done)
        if number == 0:
            first_round.update(seen)
    real = len(records)
    assert real == ROUNDS * len(KINDS)
    assert real >= 500

    # The rest comes through the same recorder: whole rounds of the same requests, until the day is full.
    pattern = records[: len(KINDS)]
    rest = list(invented(pattern, (ALL - real) // len(KINDS) * len(KINDS)))
    for one in rest:
        extension.gateway.recorder.record(one)
    seen.plus(first_round, len(rest) // len(KINDS))
    while seen["requests"] < ALL:  # what is left of 10,000 when it is divided by the kinds
        await ask(client, PATH, {}, leaves=False, seen=seen)
    assert seen["requests"] == ALL

    # Prometheus.
    counted = await scrape()
    counted.subtract(before)
    for name, count in seen.items():
        assert counted[name] == count, name
    for kind in ("status", "error"):
        assert {name for name in counted if name.startswith(kind) and counted[name]} == {
            name for name in seen if name.startswith(kind) and seen[name]
        }
    assert counted["durations"] == ALL
    rounds = ROUNDS + len(rest) // len(KINDS)
    assert counted["streams finished"] == rounds * 2  # Ollama streams unless told otherwise
    assert counted["streams failed"] == rounds
    assert counted["streams client_left"] == rounds
    assert counted["field temperature"] == counted["field max_tokens"] == counted["field body"] == rounds
    assert counted["upstream backend_failed"] == seen["error backend_failed"]

    # The ledger, by HTTP.
    response = await client.get("/bodhi/v1/usage", params={"by": "error", "bucket": "hour"})
    found = response.json()
    assert found["totals"] == {
        name: seen[name] for name in ("requests", "errors", "prompt_tokens", "completion_tokens", "disconnects")
    }
    assert sum(step["requests"] for step in found["series"]) == ALL
    assert len({step["start"] for step in found["series"]}) >= 20
    by_error = {group["error"]: group["requests"] for group in found["groups"]}
    assert by_error.pop(None) == seen["requests"] - seen["errors"]
    assert {f"error {error}": count for error, count in by_error.items()} == {
        name: count for name, count in seen.items() if name.startswith("error ")
    }
    assert found["times"]["seconds"]["count"] == ALL
    assert sum(one["count"] for one in found["disconnects"]) == seen["disconnects"]
    assert {one["field"] for one in found["validation_failures"]} >= {"temperature", "max_tokens"}
    assert {one["path"] for one in found["incompatibilities"]} == {"POST /v1/nope"}

    # Nothing of what was said is in any of them.
    everything = (
        response.text + (await client.get("/metrics")).text + (await client.get("/bodhi/v1/errors/recent")).text
    )
    for path in extension.gateway.ledger.folder.iterdir():
        everything += path.read_bytes().decode(errors="replace")
    for said in ("a secret that nobody may keep", "Once", "upon a time"):
        assert said not in everything + caplog.text
