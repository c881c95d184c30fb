"""What is shown at the moment of a scrape, and that a scrape waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bodhi_jupyter.telemetry import live
from bodhi_jupyter.telemetry.live import LiveCollector, LiveSource

TEXT = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 12
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE bodhi_requests_total counter
bodhi_requests_total 99
"""


@dataclass
class Reading:
    model: str
    resident_bytes: int | None
    metrics: str


class Server:
    """A server with engines of these texts."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.source = LiveSource(
            streams=lambda: ["openai", "ollama", "openai"],
            waiting=lambda: {"model": 4},
            engines=lambda: dict.fromkeys(self.texts, 1000),
            read_engines=self._read,
        )

    async def _read(self) -> Sequence[Reading]:
        self.asked += 1
        await self.may_answer.wait()
        return [Reading(name, 2000, text) for name, text in self.texts.items()]


@pytest.fixture
def collector() -> LiveCollector:
    return LiveCollector()


def scrape(collector: LiveCollector) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_counts_are_of_now_and_engines_as_the_scrape_before_found_them(collector) -> None:
    server = Server(tutor=TEXT)
    collector.add(server.source)
    first = scrape(collector)
    assert first == {
        'bodhi_streams_open{dialect="openai"}': 2,
        'bodhi_streams_open{dialect="ollama"}': 1,
        'bodhi_streams_open{dialect="anthropic"}': 0,
        'bodhi_streams_open{dialect="bodhi"}': 0,
        'bodhi_queue_length{queue="model"}': 4,
        "bodhi_engine_processes": 1,
        'bodhi_engine_memory_estimate_bytes{model="tutor"}': 1000,
    }
    await turns()
    assert scrape(collector) == {
        **first,
        'bodhi_engine_memory_bytes{model="tutor"}': 2000,
        'llamacpp:prompt_tokens_total{model="tutor"}': 12,
        'llamacpp:requests_processing{model="tutor"}': 1,
    }


async def test_a_scrape_does_not_wait_for_an_engine_that_does_not_answer(collector) -> None:
    server = Server(tutor=TEXT)
    server.may_answer.clear()
    collector.add(server.source)
    for _ in range(5):
        assert scrape(collector)["bodhi_engine_processes"] == 1
        await turns()
    assert server.asked == 1
    await collector.remove(server.source)
    await collector.remove(server.source)
    assert scrape(collector)["bodhi_engine_processes"] == 0


async def test_engines_of_several_servers_are_one_family_and_one_that_left_is_not_shown(collector, monkeypatch) -> None:
    monkeypatch.setattr(live, "PAUSE_SECONDS", 0.0)
    first, second = Server(a=TEXT, b=TEXT), Server(c=TEXT)
    for server in (first, second):
        collector.add(server.source)
    scrape(collector)
    await turns()
    found = scrape(collector)
    assert {name for name in found if name.startswith("llamacpp:prompt")} == {
        f'llamacpp:prompt_tokens_total{{model="{name}"}}' for name in "abc"
    }
    del first.texts["a"]
    assert 'llamacpp:prompt_tokens_total{model="a"}' not in scrape(collector)


@pytest.mark.parametrize("text", ["", "this { is } no exposition\n", 'llamacpp:x{model="\n'])
async def test_metrics_that_cannot_be_read_are_left_out(collector, text: str) -> None:
    server = Server(tutor=text)
    collector.add(server.source)
    scrape(collector)
    await turns()
    assert not [name for name in scrape(collector) if name.startswith("llamacpp")]


async def test_a_question_that_fails_leaves_what_was_known(collector, monkeypatch, caplog) -> None:
    monkeypatch.setattr(live, "PAUSE_SECONDS", 0.0)
    server = Server(tutor=TEXT)
    collector.add(server.source)
    scrape(collector)
    await turns()

    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(server.may_answer, "wait", fail)
    scrape(collector)
    await turns()
    assert 'bodhi_engine_memory_bytes{model="tutor"}' in scrape(collector)
    assert "cannot be read" in caplog.text


def test_without_an_event_loop_it_shows_what_is_known(collector) -> None:
    server = Server(tutor=TEXT)
    collector.add(server.source)
    assert scrape(collector)["bodhi_engine_processes"] == 1
    assert server.asked == 0
