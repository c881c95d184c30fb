"""Starts, watches and ends the process of one engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from ..wire.errors import ModelNotLoadable
from .base import Address
from .engine_log import EngineLog
from .launch import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .launch import EngineSpec, Launcher

_log = logging.getLogger(__name__)

#: Exit codes of a process that somebody else ended: SIGKILL and SIGTERM.
_KILLS = (-9, -15)
#: Seconds that a killed process is waited for: only one that hangs in the kernel needs any.
_KILLED_SECONDS = 5.0
#: Seconds in which a process that is asked to end does so by itself.
_LAST_WORDS_SECONDS = 1.0
#: Seconds for what is left in the log's pipe after it has ended: the reason why, which comes late on a busy machine.
_LAST_LINES_SECONDS = 5.0
#: Bytes of a line of the log that are looked at.
_LONGEST_LINE = 2**16


class EngineProcess:
    """An engine that answers at `address` until `exited` is set.

    One thread per process starts it, waits for its end and gives everything back; a second one reads its log. The
    loop that `start` ran in hears of both, and may be closed at any time.

    Attributes:
        address: where it answers, and the key that opens it.
        pid: the process; with a llama-server binary, its watcher's.
        exited: set as soon as the process has ended, for whatever reason.
        returncode: from then on its exit code, negative for a signal; None when it could not even be started.
    """

    def __init__(self, spec: EngineSpec) -> None:
        """For `start`, which alone gives out instances."""
        self.address = Address("")
        self.pid = -1
        self.exited = asyncio.Event()
        self.returncode: int | None = None
        self._alias = spec.alias
        self._api_key = secrets.token_urlsafe(32)
        self._engine_log = EngineLog(_paths(spec), [self._api_key])
        self._loop = asyncio.get_running_loop()
        self._answered = asyncio.Event()
        self._answer: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._is_unwanted = False
        self._configuring = -1

    @classmethod
    async def start(cls, launcher: Launcher, spec: EngineSpec, *, start_timeout: float) -> EngineProcess:
        """Start an engine and wait until it answers requests; when cancelled, the process is killed.

        Args:
            launcher: the kind of engine.
            spec: what it serves.
            start_timeout: seconds for loading the model.

        Raises:
            ModelNotLoadable: it cannot be started, or cannot load the model; the message says why.
        """
        process = cls(spec)
        configuration = launcher.configuration(spec, process._api_key)
        threading.Thread(
            target=process._run, args=(launcher, configuration), name=f"engine-{spec.alias}", daemon=True
        ).start()
        try:
            async with asyncio.timeout(start_timeout):
                await process._answered.wait()
        except TimeoutError:
            await process._destroy()
            raise ModelNotLoadable(
                f"The model {spec.alias!r} could not be loaded within {start_timeout:g} seconds.", param="model"
            ) from None
        except BaseException:
            await process._destroy()
            raise
        if "port" not in process._answer:
            raise ModelNotLoadable(process.why_it_died(), param="model")
        process.address = Address(
            f"http://127.0.0.1:{process._answer['port']}",
            # The engine closes the connection after every stream, whatever it announces (measured): said before,
            # no request meets a connection that is about to close.
            {"Authorization": f"Bearer {process._api_key}", "Connection": "close"},
        )
        return process

    @property
    def last_lines(self) -> list[str]:
        """The end of its log, without folders, addresses and keys."""
        return list(self._engine_log.lines)

    def why_it_died(self) -> str:
        """What was lost, and why, in one sentence for a caller; only once `exited` is set."""
        if "port" not in self._answer:
            reason = self._engine_log.first_error() or self._answer.get("error") or _ending(self.returncode)
            return f"The model {self._alias!r} could not be loaded: {reason}."
        reason = _ending(self.returncode)
        # After a plain kill the log's last complaint is an old one, about something else.
        if self.returncode not in _KILLS and (complaint := self._engine_log.last_error()):
            reason = f"{reason} ({complaint})"
        return f"The engine of the model {self._alias!r} ended unexpectedly: {reason}."

    async def stop(self, grace: float = 5.0) -> None:
        """End it: it is asked to, and killed after `grace` seconds; idempotent."""
        self._ask_to_end()
        await self._wait_for_end(grace)
        await self._destroy()

    async def _destroy(self) -> None:
        """End it at once, and wait until nothing of it is left."""
        with self._lock:
            self._is_unwanted = True
            popen = self._popen
        if popen is not None:
            # Told first, it ends what it has started and removes its key; a kill would leave the one or the other.
            self._ask_to_end()
            await self._wait_for_end(_LAST_WORDS_SECONDS)
            popen.kill()  # without effect on a process that has ended
        await self._wait_for_end(_KILLED_SECONDS)

    def _ask_to_end(self) -> None:
        """Close the pipe that it watches."""
        with self._lock:
            if self._popen is not None and self._popen.stdin is not None:
                self._popen.stdin.close()

    async def _wait_for_end(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.exited.wait()

    # What follows runs in threads.

    def _run(self, launcher: Launcher, configuration: dict[str, Any]) -> None:
        """The process's life, from start to end."""
        try:
            if reason := launcher.unavailable():
                self._answer = {"error": reason.rstrip(".")}
            else:
                self._attend(self._spawn(launcher), configuration)
        except OSError as error:
            self._answer = {"error": f"its engine cannot be started ({error.strerror})"}
        finally:
            self._tell_loop(self._end)

    def _end(self) -> None:
        """In the loop: everybody who waits hears that it is over."""
        self.exited.set()
        self._answered.set()

    def _spawn(self, launcher: Launcher) -> subprocess.Popen[bytes]:
        # A session, or a group, of its own: Ctrl-C in the terminal is for Jupyter, and a kill reaches all of it.
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        popen = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            launcher.command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=child_environment(),
            **apart,
        )
        assert popen.stdin is not None
        # Its own: `_ask_to_end` may close the other in the midst of writing, and the number be another file's then.
        self._configuring = os.dup(popen.stdin.fileno())
        with self._lock:
            self.pid = popen.pid
            self._popen = popen
            if self._is_unwanted:  # `start` was cancelled before there was anything to end
                popen.kill()
        return popen

    def _attend(self, popen: subprocess.Popen[bytes], configuration: dict[str, Any]) -> None:
        log_reader = threading.Thread(
            target=self._read_log, args=(popen,), name=f"engine-{self._alias}-log", daemon=True
        )
        log_reader.start()
        answer = _converse(popen, self._configuring, configuration)
        if "error" in answer:  # in the words of a library, which may name files: a module that cannot be imported
            answer["error"] = self._engine_log.cleaned(answer["error"])
        self._answer = answer
        if "port" in self._answer:
            self._tell_loop(self._answered.set)
        self.returncode = _signal_as_negative(popen.wait())
        _kill_group(popen.pid)
        log_reader.join(_LAST_LINES_SECONDS)
        assert popen.stdin is not None
        popen.stdin.close()

    def _read_log(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stderr is not None
        with popen.stderr, open(popen.stderr.fileno(), "rb", closefd=False) as lines:
            for line in _beginnings(lines):
                text = line.decode(errors="replace")
                self._engine_log.add(text)
                _log.debug("%s: %s", self._alias, text.rstrip())

    def _tell_loop(self, news: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(news)


def _converse(popen: subprocess.Popen[bytes], descriptor: int, configuration: dict[str, Any]) -> dict[str, Any]:
    """Give the child its configuration, over `descriptor`, and take its answer; empty when it ends without one."""
    assert popen.stdout is not None
    with popen.stdout, open(popen.stdout.fileno(), "rb", closefd=False) as answers:
        try:
            with open(descriptor, "wb", buffering=0):  # is closed as soon as all is written
                _write_all(descriptor, json.dumps(configuration).encode() + b"\n")
            answer: dict[str, Any] = json.loads(answers.readline() or b"{}")
        except (OSError, ValueError):
            return {}
    return answer


def _beginnings(lines: BinaryIO) -> Iterator[bytes]:
    """The lines, each as soon as it ends or is too long; the rest of a long one is dropped."""
    is_rest = False
    while piece := lines.readline(_LONGEST_LINE):
        if not is_rest:
            yield piece
        is_rest = not piece.endswith(b"\n")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _kill_group(pid: int) -> None:
    """End what the child has started, should it have had no time to."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _signal_as_negative(code: int) -> int:
    """An exit code as `subprocess` has it, also where a watcher passed on that a signal ended what it watches."""
    return 128 - code if code - 128 in set(signal.Signals) else code


def _ending(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"its process ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    hint = ", perhaps for lack of memory" if returncode == -9 else ""
    return f"its process was ended by {name}{hint}"


def _paths(spec: EngineSpec) -> list[str]:
    return [str(spec.model_path), *spec.context.files()]
