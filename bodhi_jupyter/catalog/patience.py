"""File operations that Windows refuses for a moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

#: Elsewhere what is not permitted now is not permitted later.
_ATTEMPTS = 20 if os.name == "nt" else 1
_PAUSE_SECONDS = 0.01


def patiently(operation: Callable[[], Result]) -> Result:
    """The result of `operation`, tried again for a fifth of a second where Windows does not permit it.

    A file that somebody is reading cannot be replaced there, and one that is being replaced cannot be read.

    Raises:
        OSError: it fails for another reason, or still is not permitted.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return operation()
        except PermissionError:
            time.sleep(_PAUSE_SECONDS)
    return operation()
