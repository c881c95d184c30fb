"""An event loop beside the kernel's own, for what widgets ask of the server.

Messages of the browser come on several threads of a kernel, each with a loop of its own (JupyterLab's subshells), and
the kernel's main one stands still while a cell runs. Connections belong to one loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin something on that loop, from any thread."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if not _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="bodhi-jupyter", daemon=True).start()
            _loops.append(loop)
        return _loops[0]
