"""The models in the box are files of the package."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from bodhi_jupyter.catalog.alias import LocalTarget
from bodhi_jupyter.catalog.alias_file import parse_document
from bodhi_jupyter.catalog.gguf_metadata import capabilities, read_metadata
from bodhi_jupyter.catalog.locate import find_file
from bodhi_jupyter.catalog.sources import document_of
from bodhi_jupyter.models import box
from bodhi_jupyter.models.box import MODELS, ROOT, Boxed, BoxedModels
from bodhi_jupyter.wire.errors import BackendUnavailable

BOTH = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


@BOTH
def test_it_is_small_and_says_what_it_is(model: Boxed) -> None:
    reader = gguf.GGUFReader(model.file)

    assert model.file.stat().st_size < 3_000_000
    assert reader.fields["general.name"].contents() == model.name
    assert reader.fields["general.description"].contents() == model.description
    # Whoever lists models shows it beside the size of the file.
    assert not re.search(r"\d [kMG]B", model.description)


@BOTH
def test_it_can_what_it_is_said_to(model: Boxed) -> None:
    metadata = read_metadata(model.file)

    assert capabilities(metadata) == model.capabilities
    assert metadata.context_length == {"guide": 1024, "guide-embed": 2048}[model.name]


def test_a_copy_is_held_and_asked_as_it_is_itself() -> None:
    for alias in asyncio.run(BoxedModels().aliases()):
        copy = parse_document(document_of(alias, "copy"))
        assert isinstance(alias.target, LocalTarget)
        # The package lies elsewhere in the next environment.
        assert copy.path == f"bodhi_jupyter/models/{alias.target.path.name}"
        assert find_file(copy.path, [ROOT]) == alias.target.path
        assert (copy.request_params, copy.context_params) == (alias.request_params, alias.target.context)


def test_they_are_offered_where_they_lie_the_guide_first() -> None:
    aliases = asyncio.run(BoxedModels().aliases())

    assert [alias.name for alias in aliases] == ["guide", "guide-embed"]
    # An answer that is known by heart is not left to chance.
    assert [alias.request_params.temperature for alias in aliases] == [0, None]
    for alias, model in zip(aliases, MODELS, strict=True):
        assert (alias.owned_by, alias.description) == ("bodhi-jupyter", model.description)
        assert alias.target.path == model.file


@BOTH
def test_a_broken_installation_is_an_error_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Boxed
) -> None:
    missing = replace(model, file=tmp_path / "missing.gguf")
    monkeypatch.setattr(box, "MODELS", [missing if one is model else one for one in MODELS])

    with pytest.raises(BackendUnavailable, match="not installed whole"):
        asyncio.run(BoxedModels().aliases())
