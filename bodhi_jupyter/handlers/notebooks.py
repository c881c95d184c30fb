"""Which notebook a kernel runs for, as Jupyter's own list of sessions tells; nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from jupyter_server.services.sessions.sessionmanager import SessionManager
from jupyter_server.utils import ensure_async

from ..wire.record import RequestRecord

_log = logging.getLogger(__name__)

#: A notebook may be renamed while its kernel runs.
FRESH_SECONDS = 30.0
#: Kernels without a notebook are asked about no more often than this.
PAUSE_SECONDS = 2.0


class Notebooks:
    """Fills in the notebook of requests that come with a kernel's key.

    Args:
        sessions: the server's session manager.
    """

    def __init__(self, sessions: SessionManager) -> None:
        self._sessions = sessions
        self._paths: dict[str, str] = {}
        self._asked_at = -FRESH_SECONDS
        self._asking: asyncio.Task[None] | None = None
        self._unnamed: list[RequestRecord] = []

    def note(self, record: RequestRecord) -> None:
        """Fill in what is known now; what is old or missing is asked for in the background."""
        if record.kernel is None:
            return
        record.notebook = self._paths.get(record.kernel)
        if self._asking is not None:
            self._unnamed.append(record)
        elif time.monotonic() - self._asked_at >= (PAUSE_SECONDS if record.notebook is None else FRESH_SECONDS):
            self._unnamed.append(record)
            self._asking = asyncio.create_task(self._ask())

    async def close(self) -> None:
        """Stop asking."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            sessions: list[dict[str, Any]] = await ensure_async(self._sessions.list_sessions())  # type: ignore[no-untyped-call]
            self._paths = {session["kernel"]["id"]: session["path"] for session in sessions if session.get("kernel")}
        except Exception:
            # Whatever a session manager of somebody's own raises: requests go on, without their notebook's name.
            _log.debug("the list of sessions cannot be read", exc_info=True)
        finally:
            self._asked_at = time.monotonic()
            self._asking = None
            for record in self._unnamed:
                assert record.kernel is not None
                record.notebook = self._paths.get(record.kernel, record.notebook)
            self._unnamed = []
