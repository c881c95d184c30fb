"""What an engine's log says to a caller: cleaned of what is internal, and boiled down to a reason."""

from __future__ import annotations

import re
from collections import deque
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEPT_LINES = 40
#: Of a line: llama.cpp repeats a caller's grammar or schema in one, and the expressions below take time by its square,
#: in which no other thread runs (measured: seconds for 20,000 characters).
_KEPT_CHARACTERS = 1000
#: What stands before a message: "0.00.005.772 E cmn  common_init_: ", the letter being the level, or in older
#: builds the name of a function alone.
_PREFIX = re.compile(r"^(?:[\d.]+ (?P<level>[DIWE]) (?:(?:\w+ +)?\w+: +)?|[a-z]+_\w+: )?")
_TROUBLE = re.compile(r"\b(?:\w*error|failed|cannot|could not|unable|assert\w*|terminate|exception)\b", re.IGNORECASE)

_URL = re.compile(r"\w+://[^\s'\"]+")
_PORT = re.compile(r"\bport\b\W{0,3}\d+")
_QUOTED_PATH = re.compile(r"(?P<quote>['\"])(?:[A-Za-z]:)?[\\/][^'\"]*?(?P<name>[^'\"\\/]*)(?P=quote)")
_BARE_PATH = re.compile(
    r"(?<![\w.\\/:])(?:[A-Za-z]:[\\/]|/(?=[^\s/]+/)|\\\\)(?:[^\s'\",;()]*[\\/])?(?P<name>[^\s'\",;()\\/]*)"
)


class EngineLog:
    """The last lines that an engine wrote, fit to be shown.

    Args:
        paths: files that the engine was told of; their names stay, their folders do not.
        secrets: text that must never be shown.
    """

    def __init__(self, paths: list[str], secrets: list[str]) -> None:
        # The longest first: one path may be the beginning of another.
        self._known = [(path, PureWindowsPath(path).name) for path in sorted(paths, key=len, reverse=True)]
        self._known += [(secret, "***") for secret in secrets]
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def add(self, line: str) -> None:
        """Keep one line, without folders, addresses and secrets."""
        if cleaned := self.cleaned(line.strip()):
            self.lines.append(cleaned)

    def first_error(self) -> str | None:
        """The earliest complaint: while loading, later ones only say that something failed."""
        return next(self._complaints(), None)

    def last_error(self) -> str | None:
        """The latest complaint: of a process that ran for hours, the only one that matters."""
        complaints = list(self._complaints())
        return complaints[-1] if complaints else None

    def _complaints(self) -> Iterator[str]:
        for line in list(self.lines):  # a thread may be adding to them
            prefix = _PREFIX.match(line)
            assert prefix is not None
            message = line[prefix.end() :].rstrip(".")
            level = prefix["level"]
            if message and (level == "E" or (level is None and _TROUBLE.search(line))):
                yield message

    def cleaned(self, line: str) -> str:
        """What the engine said, without folders, addresses and secrets; of much the beginning."""
        for text, shown in self._known:
            line = line.replace(text, shown)
        if len(line) > _KEPT_CHARACTERS:
            line = line[:_KEPT_CHARACTERS] + "\u2026"
        line = _URL.sub("an address", line)
        line = _PORT.sub("a port", line)
        line = _QUOTED_PATH.sub(lambda found: f"{found['quote']}{found['name']}{found['quote']}", line)
        return _BARE_PATH.sub(lambda found: found["name"], line)
