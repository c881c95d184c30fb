import asyncio
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.catalog import gguf_metadata
from bodhi_jupyter.catalog.details import Details
from bodhi_jupyter.catalog.discovery import ModelFile


def model_file(path: Path) -> ModelFile:
    stat = path.stat()
    return ModelFile(path.stem, path, stat.st_size, stat.st_mtime_ns, None, None, None, (path,))


@pytest.mark.parametrize("can_be_read", [True, False])
def test_what_is_known_is_told_without_a_thread(can_be_read, tmp_path, write_gguf, monkeypatch) -> None:
    path = tmp_path / "m.gguf"
    if can_be_read:
        write_gguf(path)
    else:
        path.write_bytes(b"this is no model")
    file, details = model_file(path), Details()

    async def main() -> None:
        first = await details.read(file)
        assert (first is not None) == can_be_read
        monkeypatch.setattr(asyncio, "to_thread", None)
        assert await details.read(file) is first

    asyncio.run(main())


def test_one_that_could_not_be_read_is_read_another_time(tmp_path, write_gguf, monkeypatch) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path)
    file, details = model_file(path), Details()
    reads = iter([OSError(5, "Input/output error")])
    real = gguf_metadata.read_header

    def read_header(where: Path) -> Any:
        if (error := next(reads, None)) is not None:
            raise error
        return real(where)

    monkeypatch.setattr(gguf_metadata, "read_header", read_header)

    async def main() -> None:
        assert await details.read(file) is None
        assert await details.read(file) is not None

    asyncio.run(main())


def test_a_file_that_is_replaced_is_read_again(tmp_path, write_gguf) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"this is no model")
    details = Details()

    async def main() -> None:
        assert await details.read(model_file(path)) is None
        write_gguf(path, "gemma3")
        found = await details.read(model_file(path))
        assert found is not None
        assert found.architecture == "gemma3"

    asyncio.run(main())
