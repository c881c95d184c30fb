"""The header of a GGUF file: its key/value pairs and the shapes of its tensors, read without the weights.

The `gguf` library's own reader makes an array object for each element of each list: 9 s and 500 MB for a
vocabulary of 152,000 tokens (measured), and it maps the file, so that one that shrinks meanwhile ends the process.
This one takes the library's tables and walks over the long lists: 0.05 s.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

#: Lists up to this length are kept (one number per layer, say), longer ones passed over.
_KEPT_LENGTH = 512

#: Past these a header is nonsense, made to keep us busy: ten times what the largest known models have.
_MAX_PAIRS = 10_000
_MAX_TENSORS = 1_000_000
_MAX_LIST = 20_000_000
_MAX_STRING = 16 * 1024 * 1024
_MAX_KEY = 65_535
_MAX_DIMENSIONS = 8

_VERSIONS = (2, 3)


class BadGGUF(Exception):
    """The file is not GGUF, is cut short, or contradicts itself. The message names no path."""


class UnreadableGGUF(BadGGUF):
    """The file cannot be read now; another time it may."""


@dataclass
class GGUFHeader:
    """What stands before the weights.

    Attributes:
        values: every key; lists longer than 512 are empty.
        parameters: elements of all tensors together.
        tensor_types: elements per number format, by the format's name.
    """

    values: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    tensor_types: dict[str, int] = field(default_factory=dict)


def read_header(path: Path) -> GGUFHeader:
    """The header of the file at `path`. Blocks.

    Raises:
        BadGGUF: it is not GGUF, is cut short, or contradicts itself.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        reader = _Reader(file, os.fstat(file.fileno()).st_size)
        try:
            return reader.header()
        except (struct.error, UnicodeDecodeError, KeyError, ValueError, OverflowError) as error:
            raise BadGGUF("The header cannot be understood.") from error


class _Reader:
    """A cursor over the header; llama.cpp's files are little-endian."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def header(self) -> GGUFHeader:
        if self._take(4) != b"GGUF":
            raise BadGGUF("This is not a GGUF file.")
        version = self._number("<I", 4)
        if version not in _VERSIONS:
            raise BadGGUF(f"GGUF version {version} is not supported.")
        tensors = self._count(_MAX_TENSORS)
        pairs = self._count(_MAX_PAIRS)
        header = GGUFHeader()
        for _ in range(pairs):
            self._pair(header)
        end = max((self._tensor(header) for _ in range(tensors)), default=0)
        self._check_end(header, end)
        return header

    def _pair(self, header: GGUFHeader) -> None:
        from gguf.constants import GGUFValueType

        key = self._text(_MAX_KEY)
        kind = GGUFValueType(self._number("<I", 4))
        if kind is not GGUFValueType.ARRAY:
            header.values[key] = self._scalar_reader(kind)()
            return
        kind = GGUFValueType(self._number("<I", 4))
        length = self._count(_MAX_LIST)
        header.values[key] = []
        if length <= _KEPT_LENGTH:
            read = self._scalar_reader(kind)
            header.values[key] = [read() for _ in range(length)]
        elif kind is GGUFValueType.STRING:
            self._skip_texts(length)
        else:
            self._skip(length * struct.calcsize(_FORMATS[kind.name]))

    def _scalar_reader(self, kind: Any) -> Callable[[], Any]:
        if kind.name == "STRING":
            return lambda: self._text(_MAX_STRING)
        layout = _FORMATS[kind.name]
        size = struct.calcsize(layout)
        return lambda: self._number(layout, size)

    def _tensor(self, header: GGUFHeader) -> int:
        """Count a tensor's elements; return where its data ends, in bytes from the start of the data."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        self._text(_MAX_KEY)
        dimensions = self._number("<I", 4)
        if dimensions > _MAX_DIMENSIONS:
            raise BadGGUF("The header cannot be understood.")
        elements: int = math.prod(self._number("<Q", 8) for _ in range(dimensions))
        number: int = self._number("<I", 4)
        offset: int = self._number("<Q", 8)
        header.parameters += elements
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            return offset  # a format that is newer than our table: the engine may know it
        header.tensor_types[kind.name] = header.tensor_types.get(kind.name, 0) + elements
        block, size = GGML_QUANT_SIZES[kind]
        return offset + elements // block * int(size)

    def _check_end(self, header: GGUFHeader, end: int) -> None:
        alignment = header.values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0:
            raise BadGGUF("The header cannot be understood.")
        start = -(-self._file.tell() // alignment) * alignment
        if end and start + end > self._size:
            raise BadGGUF(f"The file is cut short: {start + end - self._size} bytes are missing.")

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise BadGGUF("The file is cut short: its header does not end.")
        return data

    def _number(self, layout: str, size: int) -> Any:
        return struct.unpack(layout, self._take(size))[0]

    def _count(self, most: int) -> int:
        count: int = self._number("<Q", 8)
        if count > most:
            raise BadGGUF("The header cannot be understood.")
        return count

    def _text(self, most: int) -> str:
        # A key or a template in another encoding is shown as well as may be: it is not ours to refuse.
        return self._take(self._count(most)).decode("utf-8", errors="replace")

    def _skip(self, size: int) -> None:
        if self._file.tell() + size > self._size:
            raise BadGGUF("The file is cut short: its header does not end.")
        self._file.seek(size, os.SEEK_CUR)

    def _skip_texts(self, count: int) -> None:
        """The hot loop, 300,000 times for a large vocabulary: reading is twice as fast as seeking."""
        read = self._file.read
        unpack = struct.Struct("<Q").unpack
        for _ in range(count):
            (size,) = unpack(read(8))
            if size > _MAX_STRING or len(read(size)) != size:
                raise BadGGUF("The file is cut short: its header does not end.")


_FORMATS = {
    "UINT8": "<B",
    "INT8": "<b",
    "UINT16": "<H",
    "INT16": "<h",
    "UINT32": "<I",
    "INT32": "<i",
    "FLOAT32": "<f",
    "BOOL": "<?",
    "UINT64": "<Q",
    "INT64": "<q",
    "FLOAT64": "<d",
}
