"""Durations in Go's notation: how long a model stays loaded (Ollama's `keep_alive`), when a limit is reset (OpenAI)."""

from __future__ import annotations

import math
import re
import reprlib

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# Digits are read in one way only: callers write what is matched here, and a run of them that may be split anywhere
# takes quadratic time.
_PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_PARTS = re.compile(_PART, re.ASCII)
#: Characters of a value that an error repeats.
_SHOWN = 64
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+|0)", re.ASCII)


def parse_duration(value: object) -> float:
    """The seconds that `value` means; `math.inf` is for ever, 0 is at once.

    A number is seconds, a string is what Go's `time.ParseDuration` reads (``5m``, ``1h30m``, ``-1s``), and
    whatever is negative means for ever (Ollama API, `keep_alive`).

    Raises:
        ValueError: it is neither; the message says what is expected.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(_expected(value))
    if isinstance(value, str):
        return _for_ever_if_negative(_parse_go(value))
    try:
        seconds = float(value)
    except OverflowError:
        raise ValueError("the number is too large") from None
    if math.isnan(seconds):
        raise ValueError(_expected(value))
    return _for_ever_if_negative(seconds)


def format_duration(seconds: float) -> str:
    """Rounded up, as OpenAI's ``x-ratelimit-reset-*`` have it: ``120ms``, ``12s``, ``6m0s``, ``1h0m0s``."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


def _parse_go(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(_expected(text))
    sign, amount = found.group(1), found.group(2)
    seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in _PARTS.findall(amount))
    return -seconds if sign == "-" else seconds


def _for_ever_if_negative(seconds: float) -> float:
    return math.inf if seconds < 0 else seconds


def _expected(value: object) -> str:
    shown = reprlib.repr(value)[:_SHOWN]
    return f"expected seconds as a number, or a duration such as '5m' or '1h30m', but got {shown}"
