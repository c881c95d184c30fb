"""Who starts, who ends, and that nobody is left behind."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import psutil
import pytest

from tests.live.server import LiveServer, eventually

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def with_engine(server: LiveServer) -> list[psutil.Process]:
    """The engines of a server that has just answered."""
    assert server.chat().status_code == 200
    engines = server.engines()
    assert engines
    return engines


def gone(processes: list[psutil.Process]) -> bool:
    return not any(is_there(process) for process in processes)


def is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def listening(process: psutil.Process) -> list[Any]:
    """The addresses at which it takes connections."""
    return [link.laddr for link in process.net_connections("inet") if link.status == psutil.CONN_LISTEN]


def refuses(address: Any) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(tuple(address)) == errno.ECONNREFUSED


def test_the_engine_starts_with_the_first_request(start_server):
    server = start_server()

    assert server.get("/v1/models").status_code == 200
    assert server.engines() == []
    assert len(with_engine(server)) == 1


def test_the_engines_key_is_in_no_command_line_and_no_environment(start_server):
    (engine,) = with_engine(start_server())

    assert engine.cmdline()[1:] == ["-P", "-m", "bodhi_jupyter.backends.engine"]
    assert not [name for name in engine.environ() if name.startswith(("BODHI_", "LLAMA_"))]


def test_engines_listen_on_the_loopback_alone(start_server):
    (engine,) = with_engine(start_server())

    assert [address.ip for address in listening(engine)] == ["127.0.0.1"]


@posix
def test_a_killed_server_leaves_no_engine(start_server):
    server = start_server()
    engines = with_engine(server)

    server.process.kill()

    server.process.wait()
    eventually(lambda: gone(engines), "the engine's end")


@posix
def test_a_terminated_server_ends_cleanly_and_leaves_no_engine(start_server):
    # Other extensions, where they are installed, may warn of their own.
    others = {"jpserver_extensions": {"voila.server_extension": False, "notebook": False, "nbclassic": False}}
    server = start_server(config={"ServerApp": others})
    engines = with_engine(server)

    server.process.terminate()

    assert server.process.wait(60) == 0
    assert gone(engines)
    assert "Traceback" not in server.log()
    assert "Warning" not in server.log()


def test_a_killed_engine_is_replaced_for_the_next_request(start_server):
    server = start_server()
    (engine,) = with_engine(server)
    (address,) = listening(engine)

    engine.kill()

    # The system still accepts connections for a process that ends, and then breaks them: that is no next request.
    eventually(lambda: gone([engine]) and refuses(address), "the engine's end")
    answer = server.chat()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    (replacement,) = server.engines()
    assert replacement.pid != engine.pid
