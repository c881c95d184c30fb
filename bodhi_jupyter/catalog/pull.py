"""Pulls under way: one download for all who ask for the same, with its progress in Ollama's lines."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..wire.errors import STOPPING, BackendUnavailable, GatewayError, InternalError, RequestError, again
from .pull_errors import CANCELLED, PullCancelled
from .pull_hub import HubFile, Plan
from .pull_names import PullName, parse_pull_name

_log = logging.getLogger(__name__)

#: Pulls at the same time; others wait. Threads of their own: those of `asyncio.to_thread` have to stay free.
AT_ONCE = 4
#: Finished pulls that are still told of.
_REMEMBERED = 20
#: Between two lines about one file.
LINE_SECONDS = 0.25
#: After so long without news the last line is told again: clients and proxies take a silent server for a dead one.
REPEAT_SECONDS = 10.0

#: ``{"status": …}``, with ``digest``, ``total`` and ``completed`` (bytes) while a file comes (Ollama API, pull).
Line = dict[str, Any]

_FIRST_LINE: Line = {"status": "pulling manifest"}


class Source(Protocol):
    """Where files come from, as `pull_hub.Hub` is one; its methods block."""

    def plan(self, wanted: PullName) -> Plan:
        """What is to be got."""

    def check_space(self, plan: Plan, under_way: Iterable[Plan]) -> None:
        """See that there is room for it beside those under way."""

    def fetch(self, plan: Plan, file: HubFile, got: Callable[[int], None], cancelled: threading.Event) -> bool:
        """Get one file; whether it is to be verified."""

    def verify(self, plan: Plan, file: HubFile, cancelled: threading.Event) -> None:
        """Check it."""

    def link(self, plan: Plan, cancelled: threading.Event) -> None:
        """Show all files."""


class PullNotFound(RequestError):
    """No pull under way has this id."""

    status = 404
    default_code = "pull_not_found"


@dataclass(frozen=True)
class PullState:
    """A pull as a panel shows it.

    Attributes:
        id: what it is cancelled by.
        model: the name without the host.
        state: "running", "success", "failed" or "cancelled".
        status: Ollama's last status line.
        total: bytes of all files, 0 before they are known.
        completed: bytes that are here.
        error: why it failed, or "".
        started: seconds since the epoch.
    """

    id: str
    model: str
    state: str
    status: str
    total: int
    completed: int
    error: str
    started: int


class Pulls:
    """All pulls of a server.

    Args:
        source: where files come from.
        changed: called when a model is in place, before its pull is told to have succeeded.
        line_seconds: between two lines about one file.
        repeat_seconds: without news, until the last line is told again.
    """

    def __init__(
        self,
        source: Source,
        changed: Callable[[], Awaitable[object]],
        *,
        line_seconds: float = LINE_SECONDS,
        repeat_seconds: float = REPEAT_SECONDS,
    ) -> None:
        self._source = source
        self._changed = changed
        self._line_seconds = line_seconds
        self._repeat_seconds = repeat_seconds
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bodhi-pull")
        self._running: dict[str, _Pull] = {}
        self._finished: deque[_Pull] = deque(maxlen=_REMEMBERED)
        self._planned: dict[str, Plan] = {}
        self._planning = threading.Lock()
        self._closing = False

    async def follow(self, name: str) -> AsyncGenerator[Line, None]:
        """The lines of the pull of `name`, begun or joined, up to ``success``.

        When the last one who follows leaves, the download ends; what came stays for the next time. A follower that
        is slow sees of each file the latest line only; while there is no news, the last line comes again.

        Raises:
            InvalidPullName: it is no name of a repository.
            BackendUnavailable: the server is stopping.
            GatewayError: the pull failed or was cancelled; see `pull_hub.Hub`.
        """
        pull = self._joined(parse_pull_name(name))
        follower = pull.join()
        try:
            while True:
                while follower.lines:
                    yield follower.lines.pop(next(iter(follower.lines)))
                if pull.is_over:
                    break
                follower.news.clear()
                try:
                    async with asyncio.timeout(self._repeat_seconds):
                        await follower.news.wait()
                except TimeoutError:
                    yield pull.last_line
            if pull.failure is not None:
                raise again(pull.failure)
        finally:
            pull.leave(follower)

    def states(self) -> list[PullState]:
        """The pulls under way and those lately finished, the latest first."""
        pulls = [*self._finished, *self._running.values()]
        return [pull.state() for pull in sorted(pulls, key=lambda pull: pull.started, reverse=True)]

    def cancel(self, pull_id: str) -> None:
        """Stop a pull for everybody; those who follow it are told.

        Raises:
            PullNotFound: none under way has this id.
        """
        if pull_id not in self._running:
            raise PullNotFound(f"No pull '{pull_id}' is under way.", param="id")
        self._running[pull_id].stop()

    async def close(self) -> None:
        """Stop every pull, and wait for it; no other begins."""
        self._closing = True
        pulls = list(self._running.values())
        for pull in pulls:
            pull.stop()
        await asyncio.gather(*(pull.task for pull in pulls if pull.task is not None))
        self._threads.shutdown(wait=False)

    def _joined(self, wanted: PullName) -> _Pull:
        for pull in self._running.values():
            if pull.wanted.key == wanted.key and not pull.cancelled.is_set():
                return pull
        if self._closing:
            raise BackendUnavailable(STOPPING)
        loop = asyncio.get_running_loop()

        def say(line: Line) -> None:
            with suppress(RuntimeError):  # the loop has gone: the server stops
                loop.call_soon_threadsafe(pull.publish, line)

        pull = _Pull(wanted)
        pull.work = self._threads.submit(self._bring, pull, say)
        pull.task = loop.create_task(self._run(pull, pull.work))
        self._running[pull.id] = pull
        return pull

    async def _run(self, pull: _Pull, work: Future[None]) -> None:
        failure: GatewayError | None = None
        try:
            await asyncio.wrap_future(work)
            await self._changed()
            pull.publish({"status": "success"})
        except asyncio.CancelledError:  # it was stopped before a thread was free
            failure = PullCancelled(CANCELLED)
        except GatewayError as error:
            failure = error
        except OSError as error:
            failure = InternalError(f"the Hugging Face cache cannot be written: {error.strerror or 'no reason known'}")
        except Exception:
            _log.exception("The pull of %r failed", str(pull.wanted))
            failure = InternalError("the pull failed; the server's log says why")
        del self._running[pull.id]
        self._planned.pop(pull.id, None)
        self._finished.append(pull)
        pull.end(failure)

    def _bring(self, pull: _Pull, say: Callable[[Line], None]) -> None:
        """All of a pull that blocks, in its thread."""
        _raise_if(pull.cancelled)
        plan = self._source.plan(pull.wanted)
        with self._planning:  # the room that is free now is also what the others are about to fill
            self._source.check_space(plan, self._planned.copy().values())
            self._planned[pull.id] = plan
        pull.total = sum(file.size for file in plan.files)
        say(_FIRST_LINE)
        for file in plan.files:
            _raise_if(pull.cancelled)
            meter = _Meter(file, say, self._line_seconds)
            if self._source.fetch(plan, file, meter, pull.cancelled):
                say({"status": "verifying sha256 digest"})
                self._source.verify(plan, file, pull.cancelled)
        _raise_if(pull.cancelled)
        say({"status": "writing manifest"})
        self._source.link(plan, pull.cancelled)


@dataclass(eq=False)
class _Follower:
    """One who waits for lines: of each status the latest that was not seen."""

    lines: dict[str, Line]
    news: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class _Pull:
    """One download, and who follows it. `total` and `cancelled` are the thread's too, the rest is the loop's."""

    wanted: PullName
    id: str = field(default_factory=lambda: f"pull_{uuid.uuid4().hex[:12]}")
    started: float = field(default_factory=time.time)
    cancelled: threading.Event = field(default_factory=threading.Event)
    work: Future[None] | None = None
    task: asyncio.Task[None] | None = None
    total: int = 0
    is_over: bool = False
    failure: GatewayError | None = None
    _lines: dict[str, Line] = field(default_factory=dict)
    _last: str = ""
    _followers: set[_Follower] = field(default_factory=set)

    def join(self) -> _Follower:
        """A new follower, who is first told what the others were told."""
        follower = _Follower(dict(self._lines))
        self._followers.add(follower)
        return follower

    def leave(self, follower: _Follower) -> None:
        self._followers.discard(follower)
        if not self._followers and not self.is_over:
            self.stop()

    def stop(self) -> None:
        """End it: at once where it waits for a thread, else where the thread looks next."""
        self.cancelled.set()
        if self.work is not None:
            self.work.cancel()

    @property
    def last_line(self) -> Line:
        """What was told last; of one that waits for a thread, what will be told first."""
        return self._lines.get(self._last, _FIRST_LINE)

    def publish(self, line: Line) -> None:
        self._last = line["status"]
        self._lines[self._last] = line
        for follower in self._followers:
            follower.lines[self._last] = line
            follower.news.set()

    def end(self, failure: GatewayError | None) -> None:
        self.is_over = True
        self.failure = failure
        for follower in self._followers:
            follower.news.set()

    def state(self) -> PullState:
        state = "running" if not self.is_over else "success" if self.failure is None else "failed"
        return PullState(
            id=self.id,
            model=str(self.wanted),
            state="cancelled" if isinstance(self.failure, PullCancelled) else state,
            status=self.last_line["status"],
            total=self.total,
            completed=sum(line.get("completed", 0) for line in self._lines.values()),
            error="" if self.failure is None else self.failure.message,
            started=int(self.started),
        )


class _Meter:
    """Tells of a file's progress, but not of every piece."""

    def __init__(self, file: HubFile, say: Callable[[Line], None], line_seconds: float) -> None:
        self._file = file
        self._say = say
        self._line_seconds = line_seconds
        self._said: int | None = None
        self._at = float("-inf")

    def __call__(self, completed: int) -> None:
        now = time.monotonic()
        is_due = now - self._at >= self._line_seconds or completed == self._file.size
        if completed != self._said and is_due:
            self._said, self._at = completed, now
            status = f"pulling {self._file.etag[:12]}"
            self._say({"status": status, "digest": self._file.digest, "total": self._file.size, "completed": completed})


def _raise_if(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise PullCancelled(CANCELLED)
