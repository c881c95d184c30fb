"""Requests of kernels are given their notebook's name, and wait for nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bodhi_jupyter.handlers import notebooks
from bodhi_jupyter.handlers.notebooks import Notebooks
from bodhi_jupyter.wire.record import RequestRecord


class Sessions:
    """A session manager with one notebook, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.path = "lesson.ipynb"

    async def list_sessions(self) -> list[dict[str, Any]]:
        self.asked += 1
        await asyncio.sleep(0)
        return [{"path": self.path, "kernel": {"id": "k1"}}, {"path": "old.ipynb", "kernel": None}]


def request(kernel: str | None) -> RequestRecord:
    return RequestRecord("req_1", "POST /v1/chat/completions", kernel=kernel)


async def settled(known: Notebooks) -> None:
    while known._asking is not None:
        await asyncio.sleep(0)


async def test_the_first_request_is_named_when_the_answer_comes_and_the_next_ones_at_once() -> None:
    sessions = Sessions()
    known = Notebooks(sessions)  # type: ignore[arg-type]
    first, meanwhile = request("k1"), request("k1")
    known.note(first)
    known.note(meanwhile)
    assert first.notebook is None
    await settled(known)
    assert (first.notebook, meanwhile.notebook) == ("lesson.ipynb", "lesson.ipynb")
    later = request("k1")
    known.note(later)
    assert (later.notebook, sessions.asked) == ("lesson.ipynb", 1)


async def test_requests_without_a_kernel_ask_nothing_and_unknown_kernels_seldom() -> None:
    sessions = Sessions()
    known = Notebooks(sessions)  # type: ignore[arg-type]
    for _ in range(100):
        known.note(request(None))
    assert sessions.asked == 0
    for _ in range(100):
        console = request("console")
        known.note(console)
        await settled(known)
        assert console.notebook is None
    assert sessions.asked == 1


async def test_a_renamed_notebook_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    known = Notebooks(sessions)  # type: ignore[arg-type]
    known.note(request("k1"))
    await settled(known)
    monkeypatch.setattr(notebooks, "FRESH_SECONDS", 0.0)
    sessions.path = "renamed.ipynb"
    stale = request("k1")
    known.note(stale)
    assert stale.notebook == "lesson.ipynb"
    await settled(known)
    assert stale.notebook == "renamed.ipynb"


async def test_a_session_manager_that_fails_hurts_nobody() -> None:
    class Failing(Sessions):
        async def list_sessions(self) -> list[dict[str, Any]]:
            raise RuntimeError("no sessions here")

    known = Notebooks(Failing())  # type: ignore[arg-type]
    asked = request("k1")
    known.note(asked)
    await settled(known)
    assert asked.notebook is None
    await known.close()


async def test_closing_ends_the_question() -> None:
    known = Notebooks(Sessions())  # type: ignore[arg-type]
    known.note(request("k1"))
    await known.close()
    await known.close()
    assert known._asking is None
