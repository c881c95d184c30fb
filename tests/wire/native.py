"""The engine's own ``/v1/responses`` and ``/v1/messages``, and streams of theirs through a guard."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bodhi_jupyter.wire.assemble import Assembler
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.sse import iter_events
from tests.tiny_random import write_tiny_random
from tests.wire.test_assemble_real import ENGINE, TEMPLATE

#: Random weights would never begin a call: the beginning is given, and the grammar of the tools does the rest.
BEGUN_CALL = "<tool_call>\n{"
CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}


@contextmanager
def running_engine(folder: Path) -> Iterator[httpx.Client]:
    model = folder / "tiny.gguf"
    write_tiny_random(model)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(model), TEMPLATE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as child,
    ):
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()
        headers = {"Connection": "close"}
        with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
            yield client


def event(data: dict[str, Any]) -> bytes:
    """As llama.cpp spells it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {data['type']}\ndata: {text}\n\n".encode()


def through(guard: EventGuard, *chunks: bytes) -> list[dict[str, Any]]:
    """All that is sent on, the terminal event included, parsed and its names checked."""
    passed = b"".join(guard.feed(chunk) for chunk in chunks) + guard.end()
    found = [one for one in iter_events(passed) if one.data is not None]
    parsed = [json.loads(one.data or b"") for one in found]
    assert [one.name for one in found] == [data["type"] for data in parsed]
    return parsed


def assembled(events: list[dict[str, Any]], assembler: Assembler) -> dict[str, Any]:
    for one in events:
        assembler.add(one)
    return assembler.result()
