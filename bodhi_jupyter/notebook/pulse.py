"""A part of a widget that is called again and again while a person can see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import anywidget
from traitlets import Float

from .background import start
from .view import PANEL_STYLES, style, view_module


class Pulse(anywidget.AnyWidget):
    """Invisible; the browser drives it, so that nothing goes on where nobody looks. Says it when the kernel has ended.

    Args:
        on_beat: what is done; it raises nothing.
        seconds: between two beats.
    """

    _esm = view_module("pulse.js")
    _css = style(PANEL_STYLES)

    seconds = Float(2.0).tag(sync=True)

    def __init__(self, on_beat: Callable[[], Awaitable[None]], seconds: float = 2.0) -> None:
        super().__init__(seconds=seconds)
        self._on_beat = on_beat
        self._is_beating = False
        self._task: Future[None] | None = None
        self.on_msg(self._hear)

    def close(self) -> None:
        """End it, and what it is doing."""
        if self._task is not None:
            self._task.cancel()
        super().close()

    def _hear(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("kind") == "beat" and not self._is_beating:
            # Said before it begins: on its own thread it may be over before this one goes on.
            self._is_beating = True
            self._task = start(self._beat())

    async def _beat(self) -> None:
        try:
            await self._on_beat()
        finally:
            self._is_beating = False
            if self.comm is not None:
                self.send({"kind": "answered"})
