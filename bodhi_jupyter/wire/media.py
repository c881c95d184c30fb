"""What an image or a sound is, by its first bytes."""

from __future__ import annotations

import re

_TYPES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM"), "image/bmp"),
    (re.compile(rb"RIFF.{4}WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "audio/mp3"),
)
#: The MIME types that are known.
MEDIA_TYPES = tuple(kind for _, kind in _TYPES)


def media_type(data: bytes) -> str | None:
    """The MIME type of `data`, one of `MEDIA_TYPES`; None where it is something else."""
    return next((kind for magic, kind in _TYPES if magic.match(data)), None)
