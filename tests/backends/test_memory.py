"""Estimates beside numbers worked out by hand."""

from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.backends.memory import estimate_bytes
from bodhi_jupyter.catalog.alias import LocalTarget
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.catalog.discovery import ModelFile
from bodhi_jupyter.catalog.gguf_metadata import GGUFMetadata

MIB = 2**20
FIXED = (256 + 40) * MIB


def target(**context: object) -> LocalTarget:
    path = Path("m.gguf")
    return LocalTarget(ModelFile("m", path, 5000 * MIB, 0, None, None, None, (path,)), ContextParams(**context))


def metadata(**values: object) -> GGUFMetadata:
    """The shape of an 8B llama: 32 layers, 8 of 32 heads for keys and values, 128 wide."""
    return GGUFMetadata(
        architecture="llama",
        parameter_count=8,
        quantization=None,
        context_length=8192,
        embedding_length=4096,
        block_count=32,
        pooling=None,
        chat_template=None,
        values={"llama.attention.head_count": 32, "llama.attention.head_count_kv": 8, **values},
    )


@pytest.mark.parametrize(
    ("context", "kv_mib"),
    [
        ({}, 512),  # 4096 tokens x 32 layers x (1024 + 1024) values x 2 bytes
        ({"n_ctx": 1024}, 128),
        ({"n_ctx": 0}, 1024),
        ({"n_parallel": 4}, 512),
        ({"cache_type_k": "q8_0", "cache_type_v": "q8_0"}, 272),
    ],
)
def test_the_kv_cache_of_an_8b_model(context: dict[str, object], kv_mib: int) -> None:
    assert estimate_bytes(target(**context), metadata()) == FIXED + (5000 + kv_mib) * MIB


def test_head_counts_that_differ_from_layer_to_layer_count_at_their_largest() -> None:
    varied = metadata(**{"llama.attention.head_count_kv": [8, 4, 0]})
    assert estimate_bytes(target(), varied) == estimate_bytes(target(), metadata())


def test_widths_that_the_header_names_win() -> None:
    narrow = metadata(**{"llama.attention.key_length": 64, "llama.attention.value_length": 64})
    assert estimate_bytes(target(), narrow) == FIXED + (5000 + 256) * MIB


def test_without_a_header_the_weights_are_counted() -> None:
    assert estimate_bytes(target(), None) == FIXED + 5000 * MIB


@pytest.mark.parametrize(
    ("named", "mib"),
    [
        ({"mmproj": "eyes.gguf"}, 3),
        ({"lora": ["style.gguf", "tone.gguf"]}, 6),
        ({"mmproj": "eyes.gguf", "lora": ["tone.gguf"]}, 7),
        ({"lora": ["gone.gguf", "style.gguf"]}, 2),
    ],
)
def test_projector_and_adapters_are_weights_too(named: dict[str, Any], mib: int, tmp_path: Path) -> None:
    for name, size in {"eyes.gguf": 3, "style.gguf": 2, "tone.gguf": 4}.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * MIB)
    paths = {
        field: str(tmp_path / names) if isinstance(names, str) else [str(tmp_path / name) for name in names]
        for field, names in named.items()
    }
    assert estimate_bytes(target(**paths), None) == FIXED + (5000 + mib) * MIB
