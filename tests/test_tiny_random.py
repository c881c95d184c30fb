"""The tiny model: small, whole, repeatable; that it loads and speaks is shown with the engine."""

from pathlib import Path

import gguf
import pytest

from tests import tiny_random
from tests.tiny_random import DESCRIPTION, NAME, write_tiny_random


def test_one_seed_gives_the_same_small_file_every_time(tmp_path: Path) -> None:
    first, second, other = tmp_path / "1.gguf", tmp_path / "2.gguf", tmp_path / "3.gguf"
    write_tiny_random(first)
    write_tiny_random(second)
    write_tiny_random(other, seed=1)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()
    assert first.stat().st_size < 1_000_000


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny_random(path)
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.name"].contents() == NAME
    assert reader.fields["general.description"].contents() == DESCRIPTION
    assert reader.fields["llama.context_length"].contents() >= 4096
    pieces = reader.fields["tokenizer.ggml.tokens"].contents()
    assert pieces[:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert pieces[259] == "<tool_call>"
    assert len(pieces) == len(set(pieces))


def test_a_write_that_fails_leaves_nothing_and_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"what was there before")

    def fail(*_args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tiny_random, "_add_tensors", fail)
    with pytest.raises(OSError, match="disk full"):
        write_tiny_random(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.gguf"]
    assert path.read_bytes() == b"what was there before"


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_tiny_random(tmp_path / "nowhere" / "tiny.gguf")
