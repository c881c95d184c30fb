"""The collector's thresholds: as ever, but for the time in which models answer, and a little longer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from bodhi_jupyter.handlers import collector
from bodhi_jupyter.handlers.collector import PatientCollector
from tests.fakes import behaviours as behave

PATH = "/v1/chat/completions"
BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def _usual():
    usual = gc.get_threshold()
    yield
    assert gc.get_threshold() == usual


class Timers:
    """The event loop's, which go off when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Mock:
        assert seconds == collector.REST_SECONDS
        self.waiting.append(callback)
        return Mock(asyncio.TimerHandle)

    def go_off(self) -> None:
        self.waiting.pop()()


@pytest.fixture
def timers(monkeypatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: timers)
    return timers


def test_it_is_patient_from_the_first_to_some_time_behind_the_last(timers: Timers) -> None:
    usual, patient = gc.get_threshold(), PatientCollector(12_345)
    assert gc.get_threshold() == usual
    patient.hold()
    patient.hold()
    patient.release()
    assert (gc.get_threshold(), timers.waiting) == ((12_345, 20, 20), [])
    patient.release()
    assert gc.get_threshold() == (12_345, 20, 20)
    timers.go_off()
    assert (gc.get_threshold(), timers.waiting) == (usual, [])


def test_moments_without_an_answer_do_not_end_it(timers: Timers) -> None:
    usual, patient = gc.get_threshold(), PatientCollector(12_345)
    for _ in range(3):
        patient.hold()
        patient.release()
        assert len(timers.waiting) == 1
    timers.go_off()  # there were answers meanwhile: it waits once more
    assert (gc.get_threshold(), len(timers.waiting)) == ((12_345, 20, 20), 1)
    patient.hold()
    timers.go_off()  # there is one
    assert (gc.get_threshold(), timers.waiting) == ((12_345, 20, 20), [])
    patient.release()
    timers.go_off()
    assert (gc.get_threshold(), timers.waiting) == (usual, [])


async def test_closed_it_is_as_usual_at_once() -> None:
    usual, patient = gc.get_threshold(), PatientCollector(12_345)
    patient.hold()
    patient.release()
    patient.close()
    assert gc.get_threshold() == usual
    patient.hold()
    patient.close()
    assert gc.get_threshold() == usual
    patient.release()
    assert gc.get_threshold() == usual


def test_a_threshold_of_nothing_changes_nothing() -> None:
    usual, patient = gc.get_threshold(), PatientCollector(0)
    patient.hold()
    assert gc.get_threshold() == usual
    patient.release()
    patient.close()


class TestServer:
    @pytest.fixture
    def bodhi_config(self, bodhi_config):
        return {**bodhi_config, "read_timeout": 60}

    async def test_while_a_model_answers_and_not_after(self, client, fake, eventually) -> None:
        usual, go_on = gc.get_threshold(), asyncio.Event()

        async def slow(exchange) -> None:
            await go_on.wait()
            await behave.ok()(exchange)

        fake.script = [slow]
        asked = asyncio.create_task(client.post(PATH, json=BODY))
        await eventually(lambda: gc.get_threshold() == (10_000, 20, 20))
        go_on.set()
        assert (await asked).status_code == 200
        await eventually(lambda: gc.get_threshold() == usual)

    async def test_a_request_that_is_refused_holds_nothing(self, client, fake) -> None:
        usual = gc.get_threshold()
        for body, status in (({**BODY, "model": "nobody"}, 404), ({**BODY, "temperature": 99}, 400)):
            assert (await client.post(PATH, json=body)).status_code == status
            assert gc.get_threshold() == usual
