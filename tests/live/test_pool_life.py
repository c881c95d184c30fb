"""A server that ends while a model loads, and a load that ends while the server stays: no process is left behind."""

from __future__ import annotations

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import httpx
import psutil
import pytest

from tests.live.conftest import StartServer
from tests.live.server import LiveServer, eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

#: What each Python of a server does first: the engine's, once, stops itself, and loads nothing until it may go on.
HOLD = """\
import os, signal, sys
from contextlib import suppress
if "bodhi_jupyter.backends.engine" in sys.orig_argv:
    with suppress(FileNotFoundError):
        os.unlink({mark!r})
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def start_server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """As elsewhere; the first engine of the servers is held."""
    folder = tmp_path_factory.mktemp("hold")
    mark = folder / "mark"
    mark.touch()
    (folder / "sitecustomize.py").write_text(HOLD.format(mark=str(mark)))
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return partial(start_server, env={"PYTHONPATH": path})


@pytest.fixture
def ask(start_server):
    """Asks a server's model in the background, whatever becomes of it."""
    with ThreadPoolExecutor(1) as pool:

        def ask(server: LiveServer) -> None:
            def chat() -> None:
                with suppress(httpx.TransportError):
                    server.chat()

            pool.submit(chat)

        yield ask


def engines(server: LiveServer) -> list[psutil.Process]:
    """The server's engines; none for as long as another child of it has just ended."""
    try:
        return server.engines()
    except psutil.NoSuchProcess:
        return []


def held_while_it_loads(server: LiveServer) -> psutil.Process:
    """The engine, stopped before it has loaded anything: the load lasts until it may go on."""

    def held() -> list[psutil.Process]:
        return [engine for engine in engines(server) if engine.status() == psutil.STATUS_STOPPED]

    (engine,) = eventually(held, "an engine that is held")
    states = server.get("/bodhi/health").json()["models"]
    assert [state["state"] for state in states.values()] == ["loading"]
    return engine


def gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_server_killed_during_a_load_leaves_no_process(start_server, ask) -> None:
    server = start_server()
    ask(server)
    engine = held_while_it_loads(server)

    server.process.kill()

    server.process.wait()
    engine.resume()  # nobody but itself can end it now
    eventually(lambda: gone(engine), "the engine's end")


def test_a_server_that_stops_during_a_load_takes_it_along(start_server, ask) -> None:
    server = start_server()
    ask(server)
    engine = held_while_it_loads(server)
    family = server.family()

    server.process.terminate()

    assert server.process.wait(60) == 0
    assert gone(engine)
    assert all(gone(process) for process in family)
    assert "Traceback" not in server.log()


def test_an_engine_killed_during_a_load_is_a_clear_error_and_no_end(start_server) -> None:
    server = start_server()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(server.chat)
        engine = held_while_it_loads(server)
        engine.kill()
        answer = asking.result()

    assert answer.status_code == 503
    assert "SIGKILL" in answer.json()["error"]["message"]
    assert server.chat().status_code == 200
    assert len(server.engines()) == 1


def test_a_caller_that_leaves_during_a_load_leaves_an_engine_that_ends_by_itself(start_server) -> None:
    server = start_server(config={"BodhiExtension": {"keep_alive": 0}})
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": "x"}]})
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Authorization: Bearer {server.token}",
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall("\r\n".join([*lines, "", body]).encode())
        engine = held_while_it_loads(server)
    eventually(lambda: "end=client_left" in server.log(), "the server's notice")
    engine.resume()
    eventually(lambda: gone(engine), "the engine's end")
    eventually(lambda: server.get("/bodhi/health").json()["models"] == {}, "the server's notice of that")
