import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tests.catalog.pulling import CONTENT, FILE, REPO
from tests.fakes.hub import FakeHub

WriteGGUF = Callable[..., Path]


@pytest.fixture
def write_gguf() -> WriteGGUF:
    """Writes a small real GGUF file: an architecture, any keys, and one tensor of 4 x 32 numbers."""
    return _write_gguf


def _write_gguf(
    path: Path,
    architecture: str = "llama",
    values: Mapping[str, Any] | None = None,
    *,
    file_type: int | None = gguf.LlamaFileType.MOSTLY_F16,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    try:
        if file_type is not None:
            writer.add_file_type(file_type)
        for key, value in (values or {}).items():
            _add(writer, key, value)
        writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)


@pytest.fixture
def add_to_hub() -> Callable[..., Path]:
    """Puts an empty file into a Hugging Face cache as `huggingface_hub` does: a blob and a link to it."""
    return _add_to_hub


def _add_to_hub(cache: Path, repo: str, filename: str, *, commit: str = "c0ffee", main: bool = True) -> Path:
    folder = cache / ("models--" + repo.replace("/", "--"))
    if main:
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
    blob = folder / "blobs" / f"{commit}-{filename.replace('/', '-')}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"GGUF" + commit.encode())
    link = folder / "snapshots" / commit / filename
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(os.path.relpath(blob, link.parent))
    except OSError:  # Windows without the privilege: huggingface_hub puts the file there too
        blob.rename(link)
    return link


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nonexistent")
    with FakeHub() as hub:
        hub.add(REPO, {FILE: CONTENT, "tiny-Q8_0.gguf": CONTENT[:100], "README.md": b"hello"})
        yield hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"
