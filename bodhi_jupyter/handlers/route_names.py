"""Names of routes: the same few for all paths that there can be, for counting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_CAPTURED = re.compile(r"\((?!\?)([^()]*)\)")
#: What is optional, or only looked at: ``(?:/.*)?``, ``(?!(?:a|b)$)``.
_UNNAMED = re.compile(r"\(\?[:!](?:[^()]|\([^()]*\))*\)\??")
_WILD = re.compile(r"[+*]")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RouteNames:
    """Names requests by the pattern that answers them, as in ``GET /v1/models/{}``.

    Args:
        patterns: of the route table, in its order: the first that fits answers.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [(re.compile(pattern), pattern) for pattern in patterns]
        self._template = lru_cache(maxsize=1024)(self._find)

    def name(self, method: str, path: str) -> str:
        """One of a fixed set of names, whatever the caller made of method and path."""
        return f"{method if method in _METHODS else 'OTHER'} {self._template(path)}"

    def _find(self, path: str) -> str:
        for compiled, pattern in self._patterns:
            if found := compiled.fullmatch(path):
                values = iter(found.groups())
                named = _CAPTURED.sub(
                    lambda group: _placeholder(group[1], next(values)),  # noqa: B023 - used at once
                    _UNNAMED.sub("", pattern),
                )
                return named.replace(".*", "{}")
        return "{}"


def _placeholder(pattern: str, value: str | None) -> str:
    return "{}" if value is None or _WILD.search(pattern) else value
