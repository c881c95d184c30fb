"""A file that was found and cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BrokenFile:
    """What a person needs to find and mend a file; never a whole path.

    Attributes:
        name: the file's name, with its folder's inside a repository or a models folder.
        line: where in the file, counted from 1; None where a line says nothing (binary files, unreadable ones).
        reason: one sentence, without the name.
        alias: the alias that it says, where it is one whose model is not there; "" for every other file.
    """

    name: str
    line: int | None
    reason: str
    alias: str = ""

    def __str__(self) -> str:
        place = f"{self.name}, line {self.line}" if self.line else self.name
        return f"{place}: {self.reason}"
