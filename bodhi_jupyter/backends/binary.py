"""The watcher of a ``llama-server`` binary: ``python -P -m bodhi_jupyter.backends.binary``.

llama-server neither reports its port to us nor notices that we are gone, so this small process does both: it
hears a command on standard input (see `launch.BinaryLauncher`), starts it, reads the free port that it took from
its own log, waits for ``/health``, answers ``{"port": 1234}`` or ``{"error": "..."}``, and ends it when standard
input closes.

The key goes through a file that only this user can read and that is gone once the server has read it, or when this
process is told to end: arguments and environment stay readable for as long as the process lives.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from .child import Parent

#: As written before ("HTTP server is listening, ... port: 1234") and now ("listening on http://127.0.0.1:1234").
_LISTENING = re.compile(rb"listening\b.*?(?:port: |://[^\s:]+:)(\d+)")
#: Seconds between two looks at ``/health``.
_POLL_SECONDS = 0.05


def main() -> int:
    """Serve until the parent or the binary goes; the binary's exit code."""
    watched, key_file = _Binary(), _KeyFile()

    def end() -> None:
        watched.end()
        key_file.remove()

    parent = Parent(last_words=end)
    configuration = parent.hear()
    path = key_file.write(configuration["api_key"])
    try:
        watched.start([*configuration["command"], "--api-key-file", path], configuration["environment"])
        watched.wait_for_port()  # by then it has read its arguments, and the key
    except OSError as error:
        parent.tell(error=f"the llama-server binary cannot be started ({error.strerror})")
        return 1
    finally:
        key_file.remove()
    port = watched.wait_until_healthy()
    if port is not None:
        parent.tell(port=port)
    return watched.wait()


class _KeyFile:
    """A file that holds the key and is readable by its owner only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: Path | None = None

    def write(self, api_key: str) -> str:
        """Make it; its path."""
        with self._lock:  # `remove` must never miss one that is just being made
            handle, name = tempfile.mkstemp(prefix="bodhi-", suffix=".key")
            self._path = Path(name)
            with os.fdopen(handle, "w") as file:
                file.write(f"{api_key}\n")
        return name

    def remove(self) -> None:
        """Remove it, if it is there."""
        with self._lock:
            if self._path is not None:
                self._path.unlink(missing_ok=True)


class _Binary:
    """The binary's process, its log, and its port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._said_port = threading.Event()

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        """Start it.

        Raises:
            OSError: the system cannot.
        """
        with self._lock:  # `end` must never miss a process that is just being started
            self._process = subprocess.Popen(  # noqa: S603 - the administrator's own binary
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
        threading.Thread(target=self._pass_log_on, daemon=True).start()

    def wait_for_port(self) -> None:
        """Return when it listens, or has ended."""
        self._said_port.wait()

    def wait_until_healthy(self) -> int | None:
        """The port, once the model is loaded; None when the process ended first."""
        while self._port is not None and self._running.poll() is None:
            if _is_healthy(self._port):
                return self._port
            time.sleep(_POLL_SECONDS)
        return None

    def wait(self) -> int:
        """The exit code, once it has ended; 128 and the signal's number when a signal ended it."""
        code = self._running.wait()
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """Kill it; without effect before `start` and after its end."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _pass_log_on(self) -> None:
        assert self._running.stdout is not None
        for line in self._running.stdout:
            os.write(2, line)
            if self._port is None and (found := _LISTENING.search(line)):
                self._port = int(found[1])
                self._said_port.set()
        self._said_port.set()


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    raise SystemExit(main())
