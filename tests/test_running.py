"""What a runtime file says of a server, and what is said of one that does not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from bodhi_jupyter.running import RunningServer, ServerAnswer, Unreachable
from tests.fakes.llama import nobody_listening


def info(**more: Any) -> dict[str, Any]:
    return {
        "url": "http://my-laptop:8888/user/ann/",
        "hostname": "0.0.0.0",
        "port": 8888,
        "base_url": "/user/ann/",
        "sock": "",
        "secure": False,
        "token": "the-token",
        "root_dir": "/home/ann",
        **more,
    }


@contextmanager
def listening(said: bytes) -> Iterator[int]:
    """The port of a program that says `said` to one who calls, and hangs up."""

    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        talking = threading.Thread(target=talk)
        talking.start()
        yield listener.getsockname()[1]
        talking.join()


def test_a_server_on_all_addresses_is_asked_on_the_loopback():
    server = RunningServer.of(info())

    assert server.url == "http://127.0.0.1:8888/user/ann"
    assert server.port == 8888


def test_a_server_with_tls_is_asked_by_the_name_in_its_certificate():
    assert RunningServer.of(info(url="https://my-laptop:8888/", secure=True)).url == "https://my-laptop:8888"


def test_a_unix_socket_where_nobody_listens(tmp_path):
    sock = str(tmp_path / "jupyter.sock")
    server = RunningServer.of(info(url=f"http+unix://{quote(sock, safe='')}/", sock=sock))

    assert server.port is None
    with pytest.raises(Unreachable, match="No such file"):
        server.ask("GET", "/bodhi/health")


def test_the_token_is_not_shown():
    assert "the-token" not in repr(RunningServer.of(info()))


def test_nobody_is_there():
    with nobody_listening() as url:
        server = RunningServer.of(info(hostname="127.0.0.1", port=int(url.rpartition(":")[2])))
        with pytest.raises(Unreachable, match="refused"):
            server.ask("GET", "/bodhi/health")


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nName: " + b"x" * 70_000,
    ],
    ids=["another program", "nothing", "half an answer", "half an error", "a line without an end"],
)
def test_another_program_is_there(said):
    with listening(said) as port, pytest.raises(Unreachable, match="no web server"):
        RunningServer.of(info(hostname="127.0.0.1", port=port)).ask("GET", "/bodhi/health")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"text"', b"\xff"])
def test_what_is_no_object_is_empty(body):
    assert ServerAnswer(502, body).document == {}
    assert ServerAnswer(502, body).error == "it answered with status 502"


def test_an_error_says_its_message():
    assert ServerAnswer(404, b'{"error": {"message": "no such model"}}').error == "no such model"
