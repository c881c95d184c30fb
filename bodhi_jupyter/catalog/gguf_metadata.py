"""What a GGUF file tells of its model, and what the model can therefore do."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from .discovery import ModelFile
from .gguf_header import BadGGUF, GGUFHeader, UnreadableGGUF, read_header

#: More files than anybody has; a listing that does not fit would read them all again each time.
_CACHE_SIZE = 4096

_TEMPLATE = "tokenizer.chat_template"

#: Architectures that read and do not write (gguf.constants.MODEL_ARCH_NAMES), besides all that are called bert.
_ENCODERS = frozenset({"t5encoder", "gemma-embedding", "llama-embed"})

#: These look at the whole text at once and write all the same.
_DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})

_THINKING = ("enable_thinking", "<think>", "reasoning_effort")
_FILL_IN = (
    ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id"),
    ("tokenizer.ggml.prefix_token_id", "tokenizer.ggml.suffix_token_id"),
)


@dataclass(frozen=True)
class GGUFMetadata:
    """What the header says; None where it says nothing.

    Attributes:
        architecture: ``llama``, ``qwen3`` ...
        parameter_count: elements of all tensors, of all parts.
        quantization: ``Q4_K_M`` ...
        context_length: tokens it was trained with.
        embedding_length: width of its vectors.
        block_count: layers.
        pooling: ``none``, ``mean``, ``cls``, ``last`` or ``rank``.
        chat_template: Jinja.
        values: all keys but the chat template; lists longer than 512 are empty.
    """

    architecture: str
    parameter_count: int
    quantization: str | None
    context_length: int | None
    embedding_length: int | None
    block_count: int | None
    pooling: str | None
    chat_template: str | None
    values: Mapping[str, Any] = field(repr=False)


def read_metadata(path: Path, *further_parts: Path) -> GGUFMetadata:
    """What the file at `path` says, or the first one of a split model. Blocks, 50 ms for 150,000 tokens (measured).

    Raises:
        BadGGUF: a file is not GGUF, or is cut short.
        UnreadableGGUF: it cannot be read.
    """
    try:
        header = read_header(path)
        parameters = header.parameters + sum(read_header(part).parameters for part in further_parts)
    except OSError as error:
        raise UnreadableGGUF(f"The file cannot be read ({error.strerror}).") from error
    return _metadata(header, parameters)


class MetadataCache:
    """Remembers what files say, and which are no models, until their size or time changes. Safe in threads."""

    def __init__(self, size: int = _CACHE_SIZE) -> None:
        self._size = size
        self._entries: OrderedDict[tuple[Path, int, int], GGUFMetadata | BadGGUF] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, model: ModelFile) -> GGUFMetadata | None:
        """What was read before; never touches the disk."""
        with self._lock:
            entry = self._entries.get(_key(model))
        return entry if isinstance(entry, GGUFMetadata) else None

    def read(self, model: ModelFile) -> GGUFMetadata:
        """What the model's files say. Blocks where it was not read before.

        Raises:
            BadGGUF: a file is not GGUF, or is cut short.
            UnreadableGGUF: it cannot be read, which is not remembered.
        """
        key = _key(model)
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            try:
                entry = read_metadata(*model.parts)
            except UnreadableGGUF:
                raise
            except BadGGUF as error:
                entry = error
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        if isinstance(entry, BadGGUF):
            raise BadGGUF(*entry.args)  # a new one: a kept exception would collect tracebacks
        return entry


def capabilities(
    model: GGUFMetadata, projector: GGUFMetadata | None = None, template: str | None = None
) -> tuple[str, ...]:
    """What the model can do, in Ollama's words, and ``rerank``, for which Ollama has none.

    Args:
        model: what its file says.
        projector: what the file of its multimodal projector says, if it has one.
        template: Jinja, in place of the model's own.
    """
    if model.pooling == "rank":
        return ("rerank",)
    if _embeds(model):
        return ("embedding",)
    template = template or model.chat_template or ""
    found = ["completion"]
    found += ["tools"] * takes_tools(template)
    if any(all(key in model.values for key in keys) for keys in _FILL_IN):
        found.append("insert")
    found += ["thinking"] * shows_thinking(template)
    return (*found, *_projector_capabilities(projector))


def takes_tools(template: str) -> bool:
    """Whether a chat template has a place for tools."""
    return "tools" in template


def shows_thinking(template: str) -> bool:
    """Whether a chat template knows of a model's thoughts."""
    return any(word in template for word in _THINKING)


def _embeds(model: GGUFMetadata) -> bool:
    if model.pooling not in {None, "none"} or "bert" in model.architecture or model.architecture in _ENCODERS:
        return True
    causal = model.values.get(f"{model.architecture}.attention.causal", True)
    return causal is False and model.architecture not in _DIFFUSION


def _projector_capabilities(projector: GGUFMetadata | None) -> list[str]:
    if projector is None:
        return []
    hears = projector.values.get("clip.has_audio_encoder") is True
    # Projectors made before there were ears do not say that they see.
    sees = projector.values.get("clip.has_vision_encoder", not hears) is True
    return ["vision"] * sees + ["audio"] * hears


def _key(model: ModelFile) -> tuple[Path, int, int]:
    return model.path, model.size, model.mtime_ns


def _metadata(header: GGUFHeader, parameters: int) -> GGUFMetadata:
    values = dict(header.values)
    template = _text(values.pop(_TEMPLATE, None))
    architecture = _text(values.get("general.architecture")) or "unknown"
    return GGUFMetadata(
        architecture=architecture,
        parameter_count=parameters,
        quantization=_quantization(header),
        context_length=_count(values.get(f"{architecture}.context_length")),
        embedding_length=_count(values.get(f"{architecture}.embedding_length")),
        block_count=_count(values.get(f"{architecture}.block_count")),
        pooling=_pooling(values.get(f"{architecture}.pooling_type")),
        # The quantizations of one model share one copy of what may be 20 KB.
        chat_template=sys.intern(template) if template else None,
        values=values,
    )


def _quantization(header: GGUFHeader) -> str | None:
    """What the file's type is called; where it has none that we know, the format of most of its weights."""
    from gguf.constants import LlamaFileType

    name = _member_name(LlamaFileType, header.values.get("general.file_type"))
    if name is not None and name != "GUESSED":
        return name.removeprefix("MOSTLY_").removeprefix("ALL_")
    return max(header.tensor_types, key=lambda name: header.tensor_types[name], default=None)


def _pooling(value: object) -> str | None:
    from gguf.constants import PoolingType

    name = _member_name(PoolingType, value)
    return name.lower() if name else None


def _member_name(kinds: type[IntEnum], value: Any) -> str | None:
    try:
        return kinds(value).name
    except ValueError:  # newer than our table, or no number
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None
