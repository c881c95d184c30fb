"""A real Redis in a process of its own, on a free port of the loopback address, that keeps nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

PROGRAM = shutil.which("redis-server") or "/usr/bin/redis-server"


def need_redis() -> None:
    """Skip the test where Redis is missing, unless BODHI_REDIS_TESTS=1 says that it has to be there."""
    if Path(PROGRAM).exists():
        return
    if os.environ.get("BODHI_REDIS_TESTS") == "1":
        pytest.fail("BODHI_REDIS_TESTS=1, but there is no redis-server")
    pytest.skip("there is no redis-server")


class RedisServer:
    """``redis-server``, until the context is left; `stop` and `start` keep its port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        options = {"bind": "127.0.0.1", "port": str(self.port), "save": "", "appendonly": "no", "daemonize": "no"}
        self._process = subprocess.Popen(
            [PROGRAM, *(word for name, value in options.items() for word in (f"--{name}", value))],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not self._listens():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False
