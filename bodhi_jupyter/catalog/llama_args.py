"""Command-line arguments of `llama-server` as an alias's fields, so that BodhiApp's aliases run on any engine."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: Names from the llama.cpp server README; the values are fields of `ContextParams`.
_CONTEXT = {
    "-c": "n_ctx",
    "--ctx-size": "n_ctx",
    "-np": "n_parallel",
    "--parallel": "n_parallel",
    "-ngl": "n_gpu_layers",
    "--gpu-layers": "n_gpu_layers",
    "--n-gpu-layers": "n_gpu_layers",
    "-t": "n_threads",
    "--threads": "n_threads",
    "--pooling": "pooling",
    "--chat-template": "chat_template",
    "-mm": "mmproj",
    "--mmproj": "mmproj",
    "-ctk": "cache_type_k",
    "--cache-type-k": "cache_type_k",
    "-ctv": "cache_type_v",
    "--cache-type-v": "cache_type_v",
}
_SWITCHES = {
    "--embedding": "embeddings",
    "--embeddings": "embeddings",
    "--rerank": "reranking",
    "--reranking": "reranking",
}
#: Defaults that llama-server applies to each request: kept as ours, which do the same.
_REQUEST = {
    "-s": "seed",
    "--seed": "seed",
    "-n": "max_tokens",
    "--predict": "max_tokens",
    "--n-predict": "max_tokens",
    "--keep": "n_keep",
    "--temp": "temperature",
    "--temperature": "temperature",
    "--top-k": "top_k",
    "--top-p": "top_p",
    "--min-p": "min_p",
    "--top-nsigma": "top_n_sigma",
    "--top-n-sigma": "top_n_sigma",
    "--typical": "typical_p",
    "--typical-p": "typical_p",
    "--xtc-probability": "xtc_probability",
    "--xtc-threshold": "xtc_threshold",
    "--repeat-last-n": "repeat_last_n",
    "--repeat-penalty": "repeat_penalty",
    "--presence-penalty": "presence_penalty",
    "--frequency-penalty": "frequency_penalty",
    "--dry-multiplier": "dry_multiplier",
    "--dry-base": "dry_base",
    "--dry-allowed-length": "dry_allowed_length",
    "--dry-penalty-last-n": "dry_penalty_last_n",
    "--dynatemp-range": "dynatemp_range",
    "--dynatemp-exp": "dynatemp_exponent",
    "--mirostat": "mirostat",
    "--mirostat-lr": "mirostat_eta",
    "--mirostat-ent": "mirostat_tau",
}
#: A negative number is llama.cpp's word for a random seed, for no limit, and for all of the context. Requests are
#: refused with the last one, and do the others without being told.
_NEVER_NEGATIVE = {"seed", "max_tokens", "repeat_last_n", "dry_penalty_last_n"}
#: The struct that BodhiApp wrote before August 2025 kept these beside what is fixed when loading.
_STRUCT = {"n_seed": "seed", "n_predict": "max_tokens", "n_keep": "n_keep"}

_FLASH = {"-fa", "--flash-attn"}
#: llama.cpp's words for it (read in its source).
_FLASH_VALUES: dict[str, bool | str] = {
    **dict.fromkeys(("on", "enabled", "true", "1"), True),
    **dict.fromkeys(("off", "disabled", "false", "0"), False),
    **dict.fromkeys(("auto", "-1"), "auto"),
}

#: llama.cpp does this without being asked.
_IMPLIED = {"--jinja"}


@dataclass
class Translation:
    """Fields for `ContextParams` and for `RequestParams`, unchecked."""

    context: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)


def argument_name(argument: str) -> str:
    """The name in an argument as the README spells it: llama.cpp takes ``--api_key`` for it (read in its source)."""
    return argument.partition("=")[0].replace("_", "-")


def translate_args(items: Sequence[object]) -> Translation:
    """Arguments, one or several to an item (``"--ctx-size 2048"``); unknown ones end in `extra_args`.

    Raises:
        ValueError: an item is not a string, a quotation does not end, or a value is missing.
    """
    result = Translation()
    words = deque(word for item in items for word in _split(item))
    while words:
        word = words.popleft()
        # llama.cpp takes no value behind "=" (read in its source): such a word is one that nobody knows.
        name = argument_name(word) if word.startswith("--") and "=" not in word else word
        if name in _CONTEXT:
            result.context[_CONTEXT[name]] = _value_of(word, words)
        elif name in _SWITCHES:
            result.context[_SWITCHES[name]] = True
        elif name in _REQUEST:
            _add_request(result, _REQUEST[name], _number(_value_of(word, words)))
        elif name == "--lora":
            result.context.setdefault("lora", []).append(_value_of(word, words))
        elif name in _FLASH:
            value = _FLASH_VALUES.get(words[0]) if words else None
            result.context["flash_attention"] = True if value is None else value
            if value is not None:
                words.popleft()
        elif name not in _IMPLIED:
            result.context.setdefault("extra_args", []).append(word)
    return result


def translate_struct(struct: dict[str, Any]) -> Translation:
    """The typed form: BodhiApp's three request defaults are moved to where they belong, the rest stays."""
    result = Translation()
    for key, value in struct.items():
        if key not in _STRUCT:
            result.context[key] = value
        elif value is not None:
            _add_request(result, _STRUCT[key], value)
    return result


def _add_request(result: Translation, name: str, value: object) -> None:
    if not (name in _NEVER_NEGATIVE and isinstance(value, int) and value < 0):
        result.request[name] = value


def _split(item: object) -> list[str]:
    if not isinstance(item, str):
        raise ValueError(f"an argument must be a string, not {item!r}")
    lexer = shlex.shlex(item, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""  # a backslash is a part of a path on Windows
    try:
        return list(lexer)
    except ValueError:
        raise ValueError(f"a quotation does not end in {item!r}") from None


def _value_of(flag: str, words: deque[str]) -> str:
    if not words:
        raise ValueError(f"'{flag}' needs a value")
    return words.popleft()


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
