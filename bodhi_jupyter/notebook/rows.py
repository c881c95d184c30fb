"""Models as a list shows them: what is known in words, and which of them a person wants to see. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import sentence

#: States of the server's, in words for a person.
_STATES = {
    "idle": "not loaded",
    "loading": "loading",
    "loaded": "loaded",
    "draining": "finishing",
    "stopping": "stopping",
    "failed": "failed",
}
#: Of an alias whose model is not there.
MISSING = "missing"
#: What `llama-gguf-split` appends to the names of a model's parts.
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Row:
    """A model in words.

    Attributes:
        name: the alias.
        description: one line, or "".
        state: "" for a model that another server loads.
        reason: why it failed or is missing, or "".
        size: with its unit, or "".
        quantization: as the file says, or "".
        context: tokens of one request, or "".
        parameters: of the model, with a unit, or "".
        source: where it comes from.
        capabilities: as the server names them.
        tags: the alias's.
        stale: whether its source is silent, so that it may be gone.
        backend: where it runs.
        well: whether that backend is; None where nothing is known.
        alias_of: what an alias stands for; "" for what is no alias.
        defaults: what it says where a request does not, in words, or "".
    """

    name: str
    description: str = ""
    state: str = ""
    reason: str = ""
    size: str = ""
    quantization: str = ""
    context: str = ""
    parameters: str = ""
    source: str = ""
    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    stale: bool = False
    backend: str = ""
    well: bool | None = None
    alias_of: str = ""
    defaults: str = ""

    @property
    def lasting(self) -> Row:
        """The row without what comes and goes while the model stays the same."""
        return replace(self, state="", reason="", stale=False, well=None)

    @property
    def writes(self) -> bool:
        """Whether it can be asked something; what a model can do may not be known yet."""
        return not self.capabilities or "completion" in self.capabilities


@dataclass(frozen=True)
class Filter:
    """Which models a person wants to see; an empty field matches all."""

    text: str = ""
    capability: str = ""
    source: str = ""

    def matches(self, row: Row) -> bool:
        """Whether it is one of them: every word of the text is in what it is called and described by."""
        known = " ".join((row.name, row.alias_of, row.description, *row.tags, row.quantization)).casefold()
        return (
            all(word in known for word in self.text.casefold().split())
            and (not self.capability or self.capability in row.capabilities)
            and (not self.source or self.source == row.source)
        )


def row_of(model: Mapping[str, Any], backends: Mapping[str, bool] | None = None) -> Row:
    """A model object of ``/v1/models`` in words.

    Args:
        model: the object.
        backends: which backends are well.
    """
    meta = model.get("meta") or {}
    backend = str(meta.get("backend") or "")
    return Row(
        name=str(model["id"]),
        description=str(model.get("description") or ""),
        state=_STATES.get(meta.get("state") or "", ""),
        reason=str(meta.get("reason") or ""),
        size=bytes_text(meta.get("size")),
        quantization=str(meta.get("quantization") or ""),
        context=tokens_text(meta.get("n_ctx") or meta.get("n_ctx_train")),
        parameters=count_text(meta.get("n_params")),
        source=str(model.get("owned_by") or ""),
        capabilities=tuple(map(str, meta.get("capabilities") or ())),
        tags=tuple(map(str, model.get("tags") or ())),
        stale=bool(model.get("stale")),
        backend=backend,
        well=(backends or {}).get(backend),
    )


def row_without_model(alias: Mapping[str, Any]) -> Row:
    """An alias of ``/bodhi/v1/aliases`` that has a ``problem``, in words."""
    return Row(
        name=str(alias["alias"]),
        description=str(alias.get("description") or ""),
        state=MISSING,
        reason=sentence(str(alias["problem"])),
        source="system" if alias.get("read_only") else "user",
        tags=tuple(map(str, alias.get("tags") or ())),
    )


def with_alias(row: Row, alias: Mapping[str, Any] | None) -> Row:
    """The row with what an alias of ``/bodhi/v1/aliases`` says of it; as it is without one."""
    return row if alias is None else replace(row, alias_of=_target(alias), defaults=_defaults(alias))


def _target(alias: Mapping[str, Any]) -> str:
    """The model by its repository and file: whatever part of that it is listed by, a search finds it."""
    if backend := alias.get("backend"):
        return f"{alias.get('model')} on {backend}"
    file = str(alias.get("path") or alias.get("filename") or "")
    name = _PART.sub("", file.replace("\\", "/").rpartition("/")[2].removesuffix(".gguf"))
    return f"{alias['repo']}:{name}" if alias.get("repo") else name


def _defaults(alias: Mapping[str, Any]) -> str:
    """Numbers and switches with their values, as JSON has them; of what may be long only that it is there."""
    said = (
        f"{name} {json.dumps(value)}" if isinstance(value, int | float) else name
        for name, value in (alias.get("request_params") or {}).items()
    )
    return " · ".join(words.replace("_", " ") for words in said)


def place_of(file: Mapping[str, Any]) -> str:
    """Where a file is broken, of those that the server tells of: its name, and the line where one is to blame."""
    return f"{file['name']}, line {file['line']}" if file["line"] else str(file["name"])


def capabilities_in(rows: Iterable[Row]) -> list[str]:
    """All capabilities that a model among them has."""
    return sorted({capability for row in rows for capability in row.capabilities})


def sources_in(rows: Iterable[Row]) -> list[str]:
    """All sources that a model among them comes from."""
    return sorted({row.source for row in rows if row.source})


def bytes_text(size: object) -> str:
    """Bytes for a person: ``4.7 GB``; "" for what is no size."""
    if not isinstance(size, int | float) or size <= 0:
        return ""
    value = float(size)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def tokens_text(tokens: object) -> str:
    """Tokens for a person, as the chat writes them: ``32,768``; "" for what is no number."""
    return f"{tokens:,}" if isinstance(tokens, int) and tokens > 0 else ""


def speed_text(tokens_per_second: float) -> str:
    """A speed for a person, with no more digits than a measurement is good for: ``4.2``, ``41``, ``1,204``."""
    return f"{tokens_per_second:.1f}" if tokens_per_second < 10 else f"{tokens_per_second:,.0f}"


def count_text(count: object) -> str:
    """A large number for a person: ``7.6 B``, as model cards write it."""
    if not isinstance(count, int) or count <= 0:
        return ""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
