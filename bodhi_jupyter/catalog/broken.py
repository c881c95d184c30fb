"""A file that was found and cannot be used, and an alias that names what is not here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BrokenFile:
    """What a person needs to find and mend a file; never a whole path.

    Attributes:
        name: the file's name, with its folder's inside a repository or a models folder.
        line: where in the file, counted from 1; None where a line says nothing (binary files, unreadable ones).
        reason: one sentence, without the name.
    """

    name: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = f"{self.name}, line {self.line}" if self.line else self.name
        return f"{place}: {self.reason}"


@dataclass(frozen=True)
class Absence:
    """What an alias names and is not here; it may come later.

    Attributes:
        param: the alias's field, as in ``context_params.mmproj``.
        reason: one sentence, without a folder.
    """

    param: str
    reason: str
