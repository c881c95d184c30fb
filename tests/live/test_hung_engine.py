"""An engine that lives and answers nothing: what its user can do about it."""

from __future__ import annotations

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.live.conftest import StartServer
from tests.live.server import LiveServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

#: An engine is given five seconds to end by itself, and one more; what is above is for a busy machine.
SECONDS = 20.0


@pytest.fixture
def server(start_server: StartServer) -> LiveServer:
    return start_server()


def test_a_hung_engine_is_stopped_with_its_requests_and_the_next_one_has_another(server) -> None:
    assert server.chat().status_code == 200
    (hung,) = server.engines()
    hung.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(server.chat)
        while server.get("/bodhi/health").json()["models"]["guide"]["leases"] == 0:
            time.sleep(0.02)
        began = time.monotonic()
        with server.client() as client:
            stopped = client.post("/bodhi/v1/models/guide/stop")
        assert (stopped.status_code, stopped.json()["state"]) == (200, "idle")
        assert time.monotonic() - began < SECONDS
        answer = asking.result()

    assert answer.status_code == 502
    assert answer.json()["error"]["message"].startswith("The model 'guide' was stopped. (")
    assert not hung.is_running()
    assert server.chat().status_code == 200


def test_a_hung_engine_that_nobody_waits_for_any_more_is_unloaded(server) -> None:
    assert server.chat().status_code == 200
    (hung,) = server.engines()
    hung.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with server.client() as client:
        assert client.post("/bodhi/v1/models/guide/unload").json()["state"] == "idle"
    assert time.monotonic() - began < SECONDS
    assert server.chat().status_code == 200


def test_a_hung_engine_is_replaced_by_itself_once_nobody_waits_for_it_any_more(server) -> None:
    assert server.chat().status_code == 200
    (hung,) = server.engines()
    hung.send_signal(signal.SIGSTOP)
    chat = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    with server.client() as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=chat, timeout=1)
        time.sleep(0.5)  # as the SDKs do before they try again
        answer = client.post("/v1/chat/completions", json=chat, timeout=2 * SECONDS)
    assert answer.status_code == 200
    assert not hung.is_running()
