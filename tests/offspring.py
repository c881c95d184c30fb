"""Processes that a test begot; other tests of this process may have servers that still run."""

from __future__ import annotations

import psutil


class Offspring:
    """Children of this process that it did not have when this was made."""

    def __init__(self) -> None:
        self._older = set(psutil.Process().children())

    def children(self) -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child not in self._older]

    def grandchildren(self) -> list[psutil.Process]:
        return [grandchild for child in self.children() for grandchild in child.children()]
