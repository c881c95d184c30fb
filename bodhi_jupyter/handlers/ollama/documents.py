"""Models as Ollama shows them: what ``/api/tags``, ``/api/ps`` and ``/api/show`` say of an alias."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...backends.pool_types import ModelState
from ...catalog.alias import Alias, LocalTarget
from ...catalog.details import Details
from ...catalog.discovery import ModelFile
from ...catalog.gguf_metadata import GGUFMetadata, shows_thinking, takes_tools
from ...wire.json_text import compact
from ...wire.ollama_manage import ollama_parameters
from .base import full_name, timestamp

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Longer lists of a file's header are left out unless `verbose`, as in Ollama.
_SHOWN_ITEMS = 5
_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def tag_document(alias: Alias, details: Details) -> dict[str, Any]:
    """An entry of ``/api/tags``; of a file that was not read yet, only what its name and size tell.

    Looks at the disk, for the digest: call it in a thread.
    """
    name = full_name(alias.name)
    document = {
        "name": name,
        "model": name,
        "modified_at": timestamp(alias.created),
        "size": size_of(alias),
        "digest": digest_of(alias),
        "details": details_of(alias, details),
    }
    able = details.capabilities(alias.target) if isinstance(alias.target, LocalTarget) else None
    able = able or alias.capabilities
    return {**document, "capabilities": list(able)} if able else document


def running_document(
    alias: Alias, state: ModelState, details: Details, *, expires: float, context: int | None
) -> dict[str, Any]:
    """An entry of ``/api/ps``.

    Args:
        alias: one with a local target that is loaded.
        state: its engine's.
        details: what was read of files.
        expires: when it is unloaded, in seconds since the epoch.
        context: tokens that one request has.
    """
    document = tag_document(alias, details)
    del document["modified_at"]
    document.pop("capabilities", None)
    return {
        **document,
        "size": state.estimate or size_of(alias),
        # What of it is on a GPU, llama.cpp does not tell.
        "size_vram": 0,
        "expires_at": timestamp(expires),
        "context_length": context or 0,
    }


def show_document(
    alias: Alias, details: Details, told: Mapping[str, Any], *, context: int | None, verbose: bool
) -> dict[str, Any]:
    """The answer of ``/api/show``.

    Args:
        alias: whose file has been read, if it has one.
        details: what was read of files.
        told: what a configured server's ``/props`` says of its model; empty for a local one.
        context: tokens that one request has, which `model_info` gives as the model's context length.
        verbose: show long lists, too.
    """
    metadata = known_metadata(alias, details)
    able = details.capabilities(alias.target) if isinstance(alias.target, LocalTarget) else None
    template = _template_of(alias, metadata, told)
    parameters = parameter_lines(alias)
    document: dict[str, Any] = {
        "modelfile": _modelfile(alias, template),
        "parameters": "\n".join(parameters),
        "template": template,
        "details": details_of(alias, details),
        "model_info": _model_info(alias, metadata, context=context, verbose=verbose),
        "capabilities": list(able or told_capabilities(alias, told)),
        "modified_at": timestamp(alias.created),
    }
    if system := alias.request_params.system_prompt:
        document["system"] = system
    if metadata is not None and isinstance(licence := metadata.values.get("general.license"), str):
        document["license"] = licence
    return document


def known_metadata(alias: Alias, details: Details) -> GGUFMetadata | None:
    """What was read of a local alias's file."""
    target = alias.target
    return details.known(target.file) if isinstance(target, LocalTarget) else None


def told_capabilities(alias: Alias, told: Mapping[str, Any]) -> list[str]:
    """What a configured server's model can do, by what it reports: capabilities, template, modalities."""
    listed = alias.meta.get("capabilities")
    if isinstance(listed, list) and "embedding" in listed:
        return ["embedding"]
    template = str(told.get("chat_template") or "")
    found = ["completion"]
    found += ["tools"] * takes_tools(template) + ["thinking"] * shows_thinking(template)
    modalities = alias.meta.get("modalities")
    if isinstance(modalities, list):
        found += ["vision"] * ("image" in modalities) + ["audio"] * ("audio" in modalities)
    return found


def size_of(alias: Alias) -> int:
    """Bytes of the model; 0 where a configured server does not tell."""
    if isinstance(alias.target, LocalTarget):
        return alias.target.file.size
    size = alias.meta.get("size")
    return size if isinstance(size, int) else 0


def digest_of(alias: Alias) -> str:
    """64 hexadecimal digits that change when the model does, or what its alias adds.

    Of a file in the Hugging Face cache it is the content's SHA-256, by which it is called there. Others are not read
    for it, which would take minutes: theirs is made of name, size and time.
    """
    target = alias.target
    if not isinstance(target, LocalTarget):
        return _hashed([target.backend, target.model, dict(alias.meta)])
    if alias.name == target.file.name and (content := _content_in_cache(target.file)) is not None:
        return content
    added = [alias.request_params.model_dump(mode="json"), target.context.model_dump(mode="json")]
    return _hashed([target.file.name, target.file.size, target.file.mtime_ns, *added])


def _content_in_cache(file: ModelFile) -> str | None:
    """What the Hugging Face cache calls the content, where that is its SHA-256."""
    if file.repo is None:
        return None
    try:
        name = file.path.readlink().name
    except OSError:  # a cache without links has the content in the place itself
        return None
    return name if _SHA256.fullmatch(name) else None


def details_of(alias: Alias, details: Details) -> dict[str, Any]:
    """Format, family, size and quantization; empty texts where they are not known."""
    metadata, target, meta = known_metadata(alias, details), alias.target, alias.meta
    if metadata is not None:
        family, quantization = metadata.architecture, metadata.quantization or ""
        parameters: object = metadata.parameter_count
        extra = {"context_length": metadata.context_length, "embedding_length": metadata.embedding_length}
    else:
        family, parameters = str(meta.get("architecture") or ""), meta.get("n_params")
        quantization = (target.file.quant if isinstance(target, LocalTarget) else meta.get("quantization")) or ""
        extra = {"context_length": meta.get("n_ctx_train"), "embedding_length": meta.get("n_embd")}
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": human_count(parameters) if isinstance(parameters, int) and parameters else "",
        "quantization_level": str(quantization),
        **{key: value for key, value in extra.items() if isinstance(value, int)},
    }


def human_count(count: int) -> str:
    """``8.0B``, ``494M``, as Ollama writes numbers of parameters."""
    for unit, letter in _UNITS:
        if count >= unit:
            number = count / unit
            return f"{number:.1f}{letter}" if letter in "TB" else f"{number:.4g}{letter}"
    return str(count)


def parameter_lines(alias: Alias) -> list[str]:
    """The alias's defaults under Ollama's names, one a line."""
    target = alias.target
    context = target.context.model_dump(exclude_none=True) if isinstance(target, LocalTarget) else {}
    pairs = ollama_parameters(alias.request_params.model_dump(exclude_none=True), context)
    return [f"{name:<30} {json.dumps(value, ensure_ascii=False)}" for name, value in pairs]


def _template_of(alias: Alias, metadata: GGUFMetadata | None, told: Mapping[str, Any]) -> str:
    if isinstance(alias.target, LocalTarget) and alias.target.context.chat_template:
        return alias.target.context.chat_template
    if metadata is not None:
        return metadata.chat_template or ""
    template = told.get("chat_template")
    return template if isinstance(template, str) else ""


def _modelfile(alias: Alias, template: str) -> str:
    """What would make the alias again; never a path of this machine."""
    base = alias.target.file.name if isinstance(alias.target, LocalTarget) else alias.target.model
    lines = [f"FROM {base}"]
    lines += [f'TEMPLATE """{template}"""'] if template else []
    lines += [f'SYSTEM """{alias.request_params.system_prompt}"""'] if alias.request_params.system_prompt else []
    return "\n".join([*lines, *(f"PARAMETER {' '.join(line.split(None, 1))}" for line in parameter_lines(alias))])


def _model_info(alias: Alias, metadata: GGUFMetadata | None, *, context: int | None, verbose: bool) -> dict[str, Any]:
    if metadata is None:
        meta = {"n_params": "general.parameter_count", "n_embd": "unknown.embedding_length"}
        known = {theirs: alias.meta[ours] for ours, theirs in meta.items() if isinstance(alias.meta.get(ours), int)}
        return {"general.architecture": "unknown", **known, **({"unknown.context_length": context} if context else {})}
    info = {key: _shown(value, verbose=verbose) for key, value in metadata.values.items() if key != "general.name"}
    info["general.parameter_count"] = metadata.parameter_count
    if context:
        info[f"{metadata.architecture}.context_length"] = context
    return info


def _shown(value: object, *, verbose: bool) -> object:
    if isinstance(value, list | tuple):
        return list(value) if verbose or len(value) <= _SHOWN_ITEMS else []
    return value


def _hashed(parts: Sequence[object]) -> str:
    return hashlib.sha256(compact(parts)).hexdigest()
