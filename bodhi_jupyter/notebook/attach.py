"""Things of a notebook as attachments of a message."""

from __future__ import annotations

import base64
import codecs
import os
import sys
from pathlib import Path
from typing import Any

from ..wire.media import media_type

#: What is attached of a text, in bytes of UTF-8: as much as the browser takes of a file (``files.js``).
MAX_TEXT = 512 * 2**10
#: What all chats and attachments may have as JSON, in bytes; the browser keeps to the same, and says why.
MAX_KEPT = 8 * 2**20
#: So much is read of a text: by its end it is known to be longer.
_READ = MAX_TEXT + 4
#: So many rows of a table are written first, then four times as many.
_ROWS = 256
#: What every browser shows, and no text begins with.
_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}


def attachment_of(thing: Any, name: str = "") -> dict[str, str]:
    """A text, an image or a file, a table or whatever a cell can show, as `ChatView.attachments` has it.

    Args:
        thing: a text; bytes; a `Path`; a table with ``to_csv`` (pandas) or ``write_csv`` (polars); what ``%%capture``
            caught; a figure, or any other object: what IPython would show of it, an image before text.
        name: what the person and the model see it called.

    Raises:
        ValueError: the bytes are neither an image nor text, or an image is larger than all chats may be.
        OSError: the file cannot be read.
    """
    if isinstance(thing, Path):
        return _of_file(thing, name or thing.name)
    if isinstance(thing, bytes):
        return _of_bytes(thing, name or "data")
    if isinstance(thing, str):
        return _text(thing, name or "text")
    for write in ("to_csv", "write_csv"):
        if callable(getattr(thing, write, None)):
            return _of_table(thing, write, name or "table.csv")
    if isinstance(stdout := getattr(thing, "stdout", None), str):
        return _text(stdout, name or "output")
    shown = _shown(thing)
    for kind in ("image/png", "image/jpeg"):
        if kind in shown:
            return _image(shown[kind], kind, name or "image")
    return _text(shown.get("text/markdown") or shown.get("text/plain") or repr(thing), name or type(thing).__name__)


def _shown(thing: Any) -> dict[str, Any]:
    """What IPython shows of it, by MIME type; without IPython what the object itself says."""
    ipython = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if ipython is not None:
        data, _ = ipython.display_formatter.format(thing)
        return dict(data)
    method = getattr(thing, "_repr_png_", None)
    png = method() if callable(method) else None
    return {} if png is None else {"image/png": png}  # None says that there is no such picture


def _of_file(path: Path, name: str) -> dict[str, str]:
    with path.open("rb") as file:
        start = file.read(_READ)
        if media_type(start) not in _IMAGES:
            return _of_bytes(start, name, os.fstat(file.fileno()).st_size)
        data = start + file.read(MAX_KEPT)
    if len(data) > MAX_KEPT:
        raise ValueError(f"{name} is larger than {MAX_KEPT // 2**20} MB.")
    return _of_bytes(data, name)


def _of_bytes(data: bytes, name: str, size: int = 0) -> dict[str, str]:
    """Of something that has `size` bytes, where `data` are not all of them."""
    kind = media_type(data)
    if kind in _IMAGES:
        return _image(data, kind, name)
    size = max(size, len(data))
    data = data[:_READ]
    try:
        # A letter may be cut in two where more follows.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) == size)
    except UnicodeDecodeError:
        raise ValueError(f"{name} is neither text nor an image.") from None
    return _text(text, name, f"{size - MAX_TEXT:,} bytes more")


def _of_table(table: Any, write: str, name: str) -> dict[str, str]:
    """As many of its first rows as are needed: a table may be larger than what a kernel can write in a minute."""
    if not callable(getattr(table, "head", None)):
        return _text(str(getattr(table, write)()), name)
    rows, count = len(table), _ROWS
    while True:
        text = str(getattr(table.head(count), write)())
        if count >= rows:
            return _text(text, name)
        if len(text) > MAX_TEXT:
            return _text(text, name, f"The table has {rows:,} rows")
        count *= 4


def _image(data: bytes | str, kind: str, name: str) -> dict[str, str]:
    # IPython gives base64 already, with line breaks.
    encoded = data.replace("\n", "") if isinstance(data, str) else base64.b64encode(data).decode()
    return {"kind": "image", "name": name, "url": f"data:{kind};base64,{encoded}"}


def _text(text: str, name: str, rest: str = "") -> dict[str, str]:
    """A text, or its beginning; `rest` says what is left out, where `text` itself is not all."""
    start = beginning(text)
    if more := len(text) - len(start):
        # The name is what the person sees before it is sent.
        name = f"{name} (the first {MAX_TEXT // 2**10} KB)"
        text = f"{start}\n… {rest or f'{more:,} characters more'}."
    return {"kind": "text", "name": name, "text": text}


def beginning(text: str) -> str:
    """As much of a text as a message takes; all of it where that is not too long."""
    # No letter has less than a byte.
    return text[:MAX_TEXT].encode(errors="replace")[:MAX_TEXT].decode(errors="ignore")
