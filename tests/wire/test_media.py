"""Files by their first bytes."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.media import MEDIA_TYPES, media_type

FILES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\n\n\n\nWEBPVP8 ",
    "image/bmp": b"BM\x00",
    "audio/wav": b"RIFF\n\n\n\nWAVEfmt ",
    "audio/mp3": b"ID3\x04",
}


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_what_a_file_is(kind):
    assert media_type(FILES[kind]) == kind


@pytest.mark.parametrize("data", [b"", b"words", b"RIFF\n\n\n\nAVI ", b"RIFF", b"GIF8", b"\x89PN"])
def test_what_is_none_of_them(data):
    assert media_type(data) is None
