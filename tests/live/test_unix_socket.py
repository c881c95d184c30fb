"""A server on a Unix socket, which Python's SDKs cannot use."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.live.server import LiveServer, eventually, runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Jupyter has no Unix sockets there")
KERNEL_URL = "http://localhost:1/here"


@pytest.fixture(scope="module")
def socket() -> Iterator[str]:
    # Its path may have 100 characters, and a test's own folder more.
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "jupyter.sock")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, socket: str) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("server"), config={"ServerApp": {"sock": socket}}) as live:
        yield live


def kernel_environment(server: LiveServer) -> dict[str, str]:
    """What a new kernel is given, as its process has it: no websocket leads there."""
    with server.client() as client:
        assert client.post("/api/kernels", json={"name": "python3"}).status_code == 201

    def kernel() -> psutil.Process | None:
        return next((child for child in server.family() if runs(child, "ipykernel_launcher")), None)

    return dict(eventually(kernel, "the kernel").environ())


def test_it_answers(server):
    assert server.chat().json()["model"] == "guide"


def test_the_doctor_examines_it_and_says_that_kernels_are_told_nothing(server):
    said = server.run("bodhi", "doctor")

    assert said.returncode == 0, said.stdout + said.stderr
    assert "ok     The default model, guide, answered in" in said.stdout
    assert "note   New kernels are given no address" in said.stdout
    assert "-> The server listens on a Unix socket, which SDKs in kernels cannot use: set" in said.stdout


def test_kernels_are_told_nothing(server):
    assert not [name for name in kernel_environment(server) if name.startswith(("OPENAI_", "OLLAMA_", "ANTHROPIC_"))]


def test_a_terminal_is_told_no_address_that_its_programs_cannot_use(server):
    said = server.run("bodhi", "env")

    assert (said.returncode, said.stdout) == (1, "")
    assert "is a Unix socket, which SDKs cannot use." in said.stderr


def test_a_key_is_shown_with_an_address_that_has_to_be_replaced(server):
    said = server.run("bodhi", "key", "create")

    assert said.returncode == 0
    assert "OPENAI_BASE_URL=http://127.0.0.1:8888/v1\n" in said.stdout
    assert "Your server listens on a Unix socket: put an http address that leads there" in said.stderr


def test_kernel_url_is_what_kernels_terminals_and_keys_are_told(start_server, tmp_path_factory, socket):
    config = {"ServerApp": {"sock": f"{socket}.2"}, "BodhiExtension": {"kernel_url": f"{KERNEL_URL}/"}}
    server = start_server(config=config)

    assert kernel_environment(server)["OPENAI_BASE_URL"] == f"{KERNEL_URL}/v1"
    assert f"export OPENAI_BASE_URL={KERNEL_URL}/v1\n" in server.run("bodhi", "env", "--shell=sh").stdout
    assert f"OPENAI_BASE_URL={KERNEL_URL}/v1\n" in server.run("bodhi", "key", "create").stdout
    assert "New kernels are given no address" not in server.run("bodhi", "doctor").stdout
