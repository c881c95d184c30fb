"""What every child process of ours does: hear one line, answer one line, and end when its parent does.

Standard library only: it is imported before anything else in a process that is to start fast.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable


class Parent:
    """The process that started this one, at the other end of standard input and output.

    Args:
        last_words: called once before this process ends because its parent did.
    """

    def __init__(self, last_words: Callable[[], None] = lambda: None) -> None:
        # Ctrl-C in the terminal is meant for Jupyter, which then closes our pipe.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._answer: BinaryIO = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)  # native code prints to descriptor 1: only answers may go to the real one
        self._last_words = last_words

    def hear(self) -> dict[str, Any]:
        """The configuration; from then on this process ends when the parent does, whatever it is busy with."""
        line = sys.stdin.buffer.readline()
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        configuration: dict[str, Any] = json.loads(line)
        return configuration

    def tell(self, **answer: object) -> None:
        """Send the only answer."""
        with self._answer:
            self._answer.write(json.dumps(answer).encode() + b"\n")

    def _end_with_parent(self) -> None:
        while os.read(0, 4096):
            pass
        self._last_words()
        os._exit(0)
