"""Ollama's `options` as llama.cpp's sampling fields, and the defaults that Ollama has (Ollama API, Modelfile docs).

What llama.cpp refuses was measured: a negative `repeat_last_n`, limits past 31 bits, a `repeat_penalty` that is not
above 0. Where a value's meaning is clear it is brought into range, else refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import InvalidField
from .ollama_errors import WrongOptionType

_INT32_MAX = 2**31 - 1
_FLOAT32_MAX = 3.4028235e38
#: Tokens that `repeat_last_n` looks back at most, where the context is not known: the engine reserves them all.
_LOOK_BACK = 2**17
#: What stops a model that would never end, as in Ollama.
_CONTEXTS_PER_ANSWER = 10

#: Options by Go's type, whose name is in the error. The load-time ones are only checked.
_INTEGERS = frozenset(
    {
        *("num_predict", "top_k", "repeat_last_n", "seed", "num_keep", "mirostat"),
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"),
    }
)
_FLOATS = frozenset(
    {
        *("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"),
        *("mirostat_tau", "mirostat_eta"),
    }
)
_BOOLEANS = frozenset({"use_mmap"})

#: Options that are passed on, and llama.cpp's names for them.
_FIELDS = {
    "num_predict": "max_tokens",
    "num_keep": "n_keep",
    **{
        name: name
        for name in (
            *("temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty"),
            *("presence_penalty", "frequency_penalty", "seed", "stop", "mirostat", "mirostat_tau", "mirostat_eta"),
        )
    },
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what has the wrong type or no meaning; unknown options are ignored, null is absent.

    Raises:
        WrongOptionType: as Ollama does, with status 500.
        InvalidField: a value out of range; `param` is ``options.<name>``.
    """
    for name, value in options.items():
        if value is not None:
            _check_type(name, value)
            _check_range(name, value)


def _check_type(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _INTEGERS and not number:
        raise WrongOptionType.of(name, "integer")
    if name in _FLOATS and not number:
        raise WrongOptionType.of(name, "float32")
    if name in _BOOLEANS and not isinstance(value, bool):
        raise WrongOptionType.of(name, "boolean")
    if name == "stop" and not _is_stop(value):
        raise WrongOptionType.of(name, "array")


def _is_stop(value: Any) -> bool:
    """The published OpenAPI document allows a string, too."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _check_range(name: str, value: Any) -> None:
    # Not `isfinite`: integers may be too large for a float. NaN fails the comparison as well.
    if name in _INTEGERS | _FLOATS and not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        raise InvalidField(f'option "{name}" must be a finite number', param=f"options.{name}")
    if name == "repeat_penalty" and value <= 0:
        raise InvalidField(f'option "{name}" must be greater than 0', param=f"options.{name}")


def as_go_has_them(options: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options that are set: whole numbers where Go has them, whose fraction is cut off as Go does."""
    return {name: int(value) if name in _INTEGERS else value for name, value in options.items() if value is not None}


def sampling_fields(options: Mapping[str, Any], *, context_length: int | None) -> dict[str, Any]:
    """Checked options as fields of llama.cpp's ``/v1`` bodies: only those that the caller set.

    Args:
        options: as `check_options` lets them through.
        context_length: tokens of context that the model runs with, None where that is not known.
    """
    fields: dict[str, Any] = {}
    for name, value in as_go_has_them(options).items():
        if name in _FIELDS:
            fields[_FIELDS[name]] = _CONVERT[name](value, context_length) if name in _CONVERT else value
    return fields


def ollama_defaults(*, context_length: int | None = None) -> dict[str, Any]:
    """What Ollama uses where neither the caller nor an alias says anything, as fields of llama.cpp's ``/v1`` bodies."""
    defaults: dict[str, Any] = {
        "temperature": 0.8,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.0,
        "typical_p": 1.0,
        "repeat_last_n": 64,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n_keep": 4,
        "cache_prompt": True,
    }
    limit = _token_limit(-1, context_length)
    return defaults if limit is None else {**defaults, "max_tokens": limit}


def context_length_asked(options: Mapping[str, Any]) -> int | None:
    """`num_ctx`, in tokens: what the caller wants the model loaded with; None where nothing is asked."""
    asked = options.get("num_ctx")
    return int(asked) if asked is not None and asked >= 1 else None


def _token_limit(value: int, context_length: int | None) -> int | None:
    """-1, and -2 of older clients, is as much as the model likes: here up to ten contexts, as in Ollama."""
    if value >= 0:
        return min(value, _INT32_MAX)
    return None if context_length is None else min(_CONTEXTS_PER_ANSWER * context_length, _INT32_MAX)


def _explicit_token_limit(value: int, context_length: int | None) -> int:
    # Said by the caller, so that an alias's limit does not step in: -1 is llama.cpp's "no limit".
    limit = _token_limit(value, context_length)
    return -1 if limit is None else limit


def _look_back(value: int, context_length: int | None) -> int:
    """-1 is the whole context; more than that means nothing and would be reserved."""
    most = context_length or _LOOK_BACK
    return most if value < 0 else min(value, most)


def _seed(value: int, _context_length: int | None) -> int:
    """32 bits, of which llama.cpp takes the last value for "random", as Ollama takes -1."""
    return -1 if value == -1 else value % (2**32 - 1)


def _int32(value: int, _context_length: int | None) -> int:
    return max(-1, min(value, _INT32_MAX))


def _stops(value: str | list[str], _context_length: int | None) -> list[str]:
    # An empty one would end every answer before its first character (measured).
    return [stop for stop in ([value] if isinstance(value, str) else value) if stop]


_CONVERT: dict[str, Callable[[Any, int | None], Any]] = {
    "num_predict": _explicit_token_limit,
    "repeat_last_n": _look_back,
    "seed": _seed,
    "num_keep": _int32,
    "top_k": _int32,
    "mirostat": _int32,
    "stop": _stops,
}
