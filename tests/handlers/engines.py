"""An engine of our own making behind a URL, for models and settings that the box does not have."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import pytest

from bodhi_jupyter.backends.launch import EmbeddedLauncher, EngineSpec
from bodhi_jupyter.catalog.context import ContextParams
from tests.tiny_random import write_tiny_random

KEY = "backend-secret"


@contextmanager
def running_engine(folder: Path, *, infills: bool = False, **context: Any) -> Iterator[str]:
    """The URL of an engine with the tiny model; `infills` gives the model tokens for filling in the middle."""
    path = folder / "tiny.gguf"
    with pytest.MonkeyPatch.context() as patch:
        if infills:
            patch.setattr(gguf.GGUFWriter, "add_bos_token_id", _with_infill_tokens)
        write_tiny_random(path)
    launcher = EmbeddedLauncher()
    configuration = launcher.configuration(EngineSpec("tiny", path, ContextParams(**context)), KEY)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            launcher.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(configuration) + "\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
        assert "port" in answer, (folder / "log").read_text()
        yield f"http://127.0.0.1:{answer['port']}"
        # The context of Popen closes the child's stdin, which ends it, and waits.


def write_pooled(path: Path, pooling: gguf.PoolingType, *, ends: bool = False) -> None:
    """The tiny model as one for vectors, or for ranking, by its file; with `ends` its texts have an end mark."""

    def with_pooling(writer: gguf.GGUFWriter, token: int) -> None:
        _add_bos_token_id(writer, token)
        writer.add_pooling_type(pooling)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_bos_token_id", with_pooling)
        if ends:
            patch.setattr(gguf.GGUFWriter, "add_add_eos_token", lambda writer, _: _add_add_eos_token(writer, True))
        write_tiny_random(path)


_add_add_eos_token = gguf.GGUFWriter.add_add_eos_token
_add_bos_token_id = gguf.GGUFWriter.add_bos_token_id


def _with_infill_tokens(writer: gguf.GGUFWriter, token: int) -> None:
    _add_bos_token_id(writer, token)
    for name, one in (("pre", 10), ("suf", 11), ("mid", 12)):
        writer.add_uint32(f"tokenizer.ggml.fim_{name}_token_id", one)
