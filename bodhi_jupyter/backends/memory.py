"""How much memory a model will need, from its file's header: enough to decide what fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..catalog.alias import LocalTarget
from ..catalog.gguf_metadata import GGUFMetadata
from .launch import Settings

#: Bytes for one value of the KV cache (ggml's block sizes: q8_0 has 34 bytes for 32 values, and so on).
_CACHE_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
#: The process itself, measured with a model of half a megabyte.
_PROCESS_BYTES = 40 * 2**20
_MEBIBYTE = 2**20


def estimate_bytes(target: LocalTarget, metadata: GGUFMetadata | None) -> int:
    """Weights, KV cache, prompt cache and process, in bytes; without the KV cache where the header cannot be read.

    A projector and adapters are weights, too. The prompt cache is counted at its limit, so that what fits at first
    still fits later. Blocks.
    """
    settings = Settings.of(target.context)
    weights = target.file.size + sum(map(_size, target.context.files()))
    fixed = weights + _PROCESS_BYTES + settings.cache_ram_mib * _MEBIBYTE
    return fixed if metadata is None else fixed + _kv_cache_bytes(settings, metadata)


def _size(path: str) -> int:
    """Bytes of a file; 0 of one that is gone, which the engine will say."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _kv_cache_bytes(settings: Settings, metadata: GGUFMetadata) -> int:
    context = settings.n_ctx or settings.n_parallel * (metadata.context_length or 0)
    layers = metadata.block_count or 0
    keys, values = _widths(metadata)
    per_token = (
        keys * _CACHE_BYTES[settings.cache_type_k or "f16"] + values * _CACHE_BYTES[settings.cache_type_v or "f16"]
    )
    return int(context * layers * per_token)


def _widths(metadata: GGUFMetadata) -> tuple[int, int]:
    """Values that a token adds to the keys and to the values of one layer (GGUF specification, `attention.*`)."""
    embedding = metadata.embedding_length or 0
    heads = _largest(metadata, "attention.head_count") or 1
    kv_heads = _largest(metadata, "attention.head_count_kv") or heads
    key = _largest(metadata, "attention.key_length") or embedding // heads
    value = _largest(metadata, "attention.value_length") or embedding // heads
    return kv_heads * key, kv_heads * value


def _largest(metadata: GGUFMetadata, key: str) -> int:
    """A count; of one that differs from layer to layer the largest."""
    found: Any = metadata.values.get(f"{metadata.architecture}.{key}")
    counts = found if isinstance(found, list) else [found]
    return max((count for count in counts if isinstance(count, int)), default=0)
