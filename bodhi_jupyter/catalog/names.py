"""Names of aliases: which are allowed, what a file is called after one, and what a file gives as a name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

#: The name that always stands for the default model.
DEFAULT = "default"

#: Long enough for ``organisation/repository:file``, short enough for a file's name on every system (255 bytes).
MAX_LENGTH = 200

_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*", re.ASCII)
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._:/@+-]+", re.ASCII)

#: Device names that Windows refuses as a file's name, with any suffix (Microsoft, "Naming Files, Paths").
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def check_alias_name(name: str) -> str:
    """`name` itself, when it can be an alias.

    Allowed are ASCII letters and digits and ``. _ - : / @ +``; the first character is a letter or a digit, and no
    part between slashes is empty, ``.`` or ``..``: URLs would be changed on their way. ``default`` is taken.

    Raises:
        ValueError: it cannot be an alias; the message says why.
    """
    if len(name) > MAX_LENGTH:
        raise ValueError(f"a name has at most {MAX_LENGTH} characters, this one has {len(name)}")
    if not _ALLOWED.fullmatch(name):
        raise ValueError("a name consists of letters, digits and . _ - : / @ + and begins with a letter or a digit")
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError("the parts of a name between slashes must not be empty, '.' or '..'")
    if loose_name(name) == DEFAULT:
        raise ValueError(f"'{DEFAULT}' always stands for the default model, nothing else can be called so")
    return name


def alias_name_from(text: str) -> str:
    """The nearest allowed name for a file's name: ``my model (1)`` becomes ``my-model-1``."""
    name = _NOT_ALLOWED.sub("-", text)[:MAX_LENGTH].strip("-./:@+_")
    return f"{name}-model" if loose_name(name) == DEFAULT else name or "model"


def loose_name(name: str) -> str:
    """The name as Ollama's clients may write it: they know no case, and a tag ``latest`` that says nothing."""
    return name.casefold().removesuffix(":latest")


def file_name_for(alias: str, taken: Collection[str]) -> str:
    """What the file of `alias` is called among the names `taken`.

    ``:`` and ``/`` become ``--`` as in BodhiApp; Windows' device names get a ``_`` in front. Names that would be
    one file (``a:b`` and ``a/b``, or ``A`` and ``a`` where case does not count) are told apart by a part of
    the alias's hash: what an alias is called is said in its file, and never read from the file's name.
    """
    stem = re.sub("[:/]", "--", alias)
    if _DEVICES.match(stem):
        stem = f"_{stem}"
    folded = {name.casefold() for name in taken}
    name = f"{stem}.yaml"
    if name.casefold() in folded:
        name = f"{stem}--{hashlib.sha256(alias.encode()).hexdigest()[:8]}.yaml"
    return name
