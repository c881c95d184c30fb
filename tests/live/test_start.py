"""What a server does at its start: nobody outside of the machine hears of it, and it can be stopped at once."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.server import LiveServer, eventually, with_tiny_random

#: Notes down every address that Python code asks for, in the server and in every Python process that it starts.
WITNESS = """
import json, os, sys

_notes = os.open(os.environ["WITNESS_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_where = {
    "socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1,
    "socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0,
}

def _note(event, arguments):
    if event in _where:
        address = arguments[_where[event]]
        host = address[0] if isinstance(address, tuple) else address
        os.write(_notes, json.dumps([event, os.fsdecode(host) if host else ""]).encode() + b"\\n")

sys.addaudithook(_note)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def server(tmp_path: Path, notes: Path) -> Iterator[LiveServer]:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(WITNESS)
    env = {"PYTHONPATH": os.pathsep.join([str(modules), str(Path(__file__).parents[2])]), "WITNESS_NOTES": str(notes)}
    with LiveServer(tmp_path / "server", config=with_tiny_random(tmp_path / "server"), env=env) as server:
        yield server


def asked_for(notes: Path) -> list[tuple[str, str]]:
    return [(event, host) for event, host in map(json.loads, notes.read_text().splitlines())]


def is_of_this_machine(host: str) -> bool:
    """Whether it is the loopback address, a Unix socket, or no address at all ("any", as a server binds to)."""
    if host in {"", "localhost"} or host.startswith(("/", "\0")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def test_nobody_outside_hears_of_a_start_or_of_a_chat(server: LiveServer, notes: Path) -> None:
    eventually(lambda: "bodhi_requests" in server.get("/metrics").text, "what is loaded after the start")
    assert server.get("/v1/models").status_code == 200
    assert server.chat().status_code == 200
    found = asked_for(notes)
    assert [(event, host) for event, host in found if not is_of_this_machine(host)] == []
    # The witness was there: it saw the server ask its engine.
    assert ("socket.connect", "127.0.0.1") in found


def test_whom_the_witness_takes_for_somebody_else() -> None:
    assert all(map(is_of_this_machine, ("127.0.0.1", "::1", "localhost", "/run/socket", "")))
    assert not any(map(is_of_this_machine, ("192.0.2.1", "10.0.0.1", "2001:db8::1", "example.org")))


def test_a_server_that_is_stopped_at_once_says_nothing_of_it(start_server) -> None:
    server = start_server()
    assert server.stop() == 0
    assert "Traceback" not in server.log()
    assert "pending" not in server.log()
