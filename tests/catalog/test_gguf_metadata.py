import struct
from pathlib import Path

import gguf
import pytest

from bodhi_jupyter.catalog import gguf_metadata
from bodhi_jupyter.catalog.discovery import ModelFile, ModelFolders
from bodhi_jupyter.catalog.gguf_header import BadGGUF, read_header
from bodhi_jupyter.catalog.gguf_metadata import MetadataCache, capabilities, read_metadata
from tests.tiny_random import write_tiny_random

TOOLS = "{% if tools %}{{ tools }}{% endif %}"
FILL_IN = {f"tokenizer.ggml.fim_{part}_token_id": 1 for part in ("pre", "suf", "mid")}


def test_our_own_model_as_the_library_reads_it(tmp_path):
    path = tmp_path / "tiny.gguf"
    write_tiny_random(path)
    metadata = read_metadata(path)
    reader = gguf.GGUFReader(path)
    assert metadata.parameter_count == sum(int(tensor.n_elements) for tensor in reader.tensors)
    for key, value in metadata.values.items():
        field = reader.fields[key]
        if value == []:
            assert len(field.data) > 512
        else:
            assert value == field.contents()
    assert metadata.chat_template == reader.fields["tokenizer.chat_template"].contents()
    assert len(metadata.values) + 1 == len([key for key in reader.fields if not key.startswith("GGUF.")])
    assert (metadata.context_length, metadata.embedding_length, metadata.block_count) == (8192, 64, 2)
    assert (metadata.architecture, metadata.quantization, metadata.pooling) == ("llama", "F16", None)
    assert capabilities(metadata) == ("completion", "tools")


def test_every_kind_of_value(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_uint8("a.u8", 200)
    writer.add_int8("a.i8", -100)
    writer.add_uint16("a.u16", 60_000)
    writer.add_int16("a.i16", -30_000)
    writer.add_uint32("a.u32", 4_000_000_000)
    writer.add_int32("a.i32", -2_000_000_000)
    writer.add_uint64("a.u64", 2**60)
    writer.add_int64("a.i64", -(2**60))
    writer.add_float32("a.f32", 0.5)
    writer.add_float64("a.f64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.text", "Ü🦙")
    writer.add_array("a.few", [1, 2, 3])
    writer.add_array("a.words", ["x", "", "yz"])
    writer.add_array("a.flags", [True, False])
    writer.add_array("a.many", list(range(1000)))
    writer.add_array("a.many_words", [f"word {number}" for number in range(1000)])
    writer.add_string("a.last", "found")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(tmp_path / "m.gguf")
    assert header.values == {
        "general.architecture": "llama",
        "a.u8": 200,
        "a.i8": -100,
        "a.u16": 60_000,
        "a.i16": -30_000,
        "a.u32": 4_000_000_000,
        "a.i32": -2_000_000_000,
        "a.u64": 2**60,
        "a.i64": -(2**60),
        "a.f32": 0.5,
        "a.f64": 0.1,
        "a.bool": True,
        "a.text": "Ü🦙",
        "a.few": [1, 2, 3],
        "a.words": ["x", "", "yz"],
        "a.flags": [True, False],
        "a.many": [],
        "a.many_words": [],
        "a.last": "found",
    }


@pytest.mark.parametrize(
    ("architecture", "values", "expected"),
    [
        ("llama", {}, ("completion",)),
        ("llama", {"tokenizer.chat_template": "{{ messages }}"}, ("completion",)),
        ("llama", {"tokenizer.chat_template": TOOLS}, ("completion", "tools")),
        ("llama", FILL_IN, ("completion", "insert")),
        ("llama", {"tokenizer.ggml.fim_pre_token_id": 1}, ("completion",)),
        ("qwen3", {"tokenizer.chat_template": TOOLS + "{{ enable_thinking }}"}, ("completion", "tools", "thinking")),
        ("qwen3", {"tokenizer.chat_template": "<think>"}, ("completion", "thinking")),
        ("bert", {"bert.pooling_type": 2}, ("embedding",)),
        ("nomic-bert-moe", {}, ("embedding",)),
        ("gemma-embedding", {}, ("embedding",)),
        ("qwen3", {"qwen3.pooling_type": 3, "tokenizer.chat_template": TOOLS}, ("embedding",)),
        ("qwen3", {"qwen3.pooling_type": 0}, ("completion",)),
        ("qwen3", {"qwen3.pooling_type": 4}, ("rerank",)),
        ("llama", {"llama.attention.causal": False}, ("embedding",)),
        ("dream", {"dream.attention.causal": False}, ("completion",)),
    ],
)
def test_capabilities(architecture, values, expected, tmp_path, write_gguf):
    assert capabilities(read_metadata(write_gguf(tmp_path / "m.gguf", architecture, values))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("completion", "vision")),
        ({"clip.has_vision_encoder": True}, ("completion", "vision")),
        ({"clip.has_audio_encoder": True}, ("completion", "audio")),
        ({"clip.has_audio_encoder": True, "clip.has_vision_encoder": True}, ("completion", "vision", "audio")),
    ],
)
def test_what_a_projector_adds(values, expected, tmp_path, write_gguf):
    model = read_metadata(write_gguf(tmp_path / "m.gguf"))
    projector = read_metadata(write_gguf(tmp_path / "mmproj.gguf", "clip", values))
    assert capabilities(model, projector) == expected


@pytest.mark.parametrize(
    ("file_type", "expected"),
    [
        (gguf.LlamaFileType.MOSTLY_Q4_K_M, "Q4_K_M"),
        (gguf.LlamaFileType.ALL_F32, "F32"),
        (gguf.LlamaFileType.GUESSED, "F16"),
        (9999, "F16"),
        (None, "F16"),
    ],
)
def test_quantization(file_type, expected, tmp_path, write_gguf):
    assert read_metadata(write_gguf(tmp_path / "m.gguf", file_type=file_type)).quantization == expected


def test_values_of_a_wrong_type_are_not_believed(tmp_path, write_gguf):
    wrong = {
        "llama.context_length": "much",
        "llama.pooling_type": "x",
        "tokenizer.chat_template": [1],
    }
    metadata = read_metadata(write_gguf(tmp_path / "m.gguf", values=wrong))
    assert (metadata.context_length, metadata.pooling, metadata.chat_template) == (None, None, None)


def test_the_parameters_of_a_split_model_are_those_of_all_parts(tmp_path, write_gguf):
    for number in (1, 2):
        write_gguf(tmp_path / f"m-0000{number}-of-00002.gguf")
    (model,) = ModelFolders([tmp_path]).scan().models
    assert MetadataCache().read(model).parameter_count == 2 * 4 * 32


def test_a_large_vocabulary_costs_no_memory(tmp_path, write_gguf):
    import tracemalloc

    path = write_gguf(
        tmp_path / "m.gguf",
        values={
            "tokenizer.ggml.tokens": [f"token {number}" for number in range(150_000)],
            "tokenizer.ggml.token_type": [1] * 150_000,
            "tokenizer.ggml.merges": [f"a{number} b{number}" for number in range(150_000)],
        },
    )
    tracemalloc.start()
    try:
        metadata = read_metadata(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert metadata.parameter_count == 4 * 32  # it stands behind the lists
    assert metadata.values["tokenizer.ggml.tokens"] == []
    assert peak < 1_000_000


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def header(pairs: int = 0, tensors: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


HUGE = 2**62


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGU",
        b"GGML" + bytes(100),
        b"<!DOCTYPE html><html>Not found</html>",
        header(version=1),
        header(version=99),
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        header(pairs=1),
        header(pairs=HUGE),
        header(tensors=HUGE),
        header(pairs=1, rest=struct.pack("<Q", HUGE)),
        header(pairs=1, rest=pair("a", 77, b"")),
        header(pairs=1, rest=pair("a", 8, struct.pack("<Q", HUGE))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 4, HUGE))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 4, 1000) + bytes(100))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 8, HUGE))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 8, 1000) + bytes(801))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 8, 1000) + struct.pack("<Q", HUGE))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 9, 1) + bytes(100))),
        header(pairs=1, rest=pair("a", 9, struct.pack("<IQ", 9, 1000) + bytes(9000))),
        header(pairs=1, rest=pair("general.alignment", 4, struct.pack("<I", 0))),
        header(pairs=1, rest=pair("general.alignment", 8, text("x"))),
        header(tensors=1, rest=text("t") + struct.pack("<I", 2**31)),
        header(tensors=1, rest=text("t") + struct.pack("<IQIQ", 1, 2**40, 0, 0)),
        header(tensors=1, rest=text("t") + struct.pack("<IQIQ", 1, 1, 0, HUGE)),
    ],
)
def test_hostile_and_broken_files_are_refused(data, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(BadGGUF) as caught:
        read_metadata(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_file_cut_short_anywhere_is_refused(tmp_path, write_gguf):
    values = {"tokenizer.chat_template": TOOLS, "a.words": ["x"] * 600, "a.numbers": list(range(600))}
    path = write_gguf(tmp_path / "m.gguf", values=values)
    whole = path.read_bytes()
    data_end = len(whole)
    for length in [*range(0, data_end - 32, 37), data_end - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadGGUF):
            read_metadata(path)
    path.write_bytes(whole)
    assert read_metadata(path).parameter_count == 128


def test_formats_newer_than_our_table_are_read(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(header(tensors=1, rest=text("t") + struct.pack("<IQIQ", 1, 8, 4242, 0) + bytes(64)))
    metadata = read_metadata(path)
    assert (metadata.parameter_count, metadata.quantization, metadata.architecture) == (8, None, "unknown")


def test_a_missing_file_is_told_without_its_path(tmp_path):
    with pytest.raises(BadGGUF, match="cannot be read") as caught:
        read_metadata(tmp_path / "m.gguf")
    assert str(tmp_path) not in str(caught.value)


@pytest.fixture
def counted(monkeypatch) -> list[Path]:
    """The files that were read."""
    read: list[Path] = []
    real = gguf_metadata.read_metadata
    monkeypatch.setattr(gguf_metadata, "read_metadata", lambda path, *parts: read.append(path) or real(path, *parts))
    return read


def scan(folder: Path) -> tuple[ModelFile, ...]:
    return ModelFolders([folder]).scan().models


def test_the_cache_reads_once_until_the_file_changes(tmp_path, write_gguf, counted):
    path = write_gguf(tmp_path / "m.gguf", values={"general.name": "one"})
    cache = MetadataCache()
    (model,) = scan(tmp_path)
    assert cache.known(model) is None
    assert cache.read(model).values["general.name"] == "one"
    assert cache.read(model) is cache.known(model)
    assert len(counted) == 1
    write_gguf(path, values={"general.name": "three"})
    (model,) = scan(tmp_path)
    assert cache.known(model) is None
    assert cache.read(model).values["general.name"] == "three"


def test_the_cache_remembers_what_cannot_be_read(tmp_path, counted):
    (tmp_path / "m.gguf").write_bytes(b"nonsense")
    cache = MetadataCache()
    (model,) = scan(tmp_path)
    for _ in range(3):
        with pytest.raises(BadGGUF, match="not a GGUF"):
            cache.read(model)
    assert cache.known(model) is None
    assert len(counted) == 1


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path, write_gguf, counted):
    for name in "abc":
        write_gguf(tmp_path / f"{name}.gguf")
    cache = MetadataCache(size=2)
    a, b, c = scan(tmp_path)
    for model in (a, b, a, c):
        cache.read(model)
    assert [cache.known(model) is not None for model in (a, b, c)] == [True, False, True]
    assert len(counted) == 3
