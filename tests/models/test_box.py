"""The model in the box is a file of the package."""

from __future__ import annotations

import asyncio
from pathlib import Path

import gguf
import pytest

from bodhi_jupyter.models import box
from bodhi_jupyter.models.box import BoxedModel
from bodhi_jupyter.wire.errors import BackendUnavailable


def test_it_is_small_and_says_what_it_is() -> None:
    reader = gguf.GGUFReader(box.FILE)

    assert box.FILE.stat().st_size < 3_000_000
    assert reader.fields["general.name"].contents() == box.NAME
    assert reader.fields["general.description"].contents() == box.DESCRIPTION
    assert reader.fields["llama.context_length"].contents() == 1024


def test_it_is_offered_where_it_lies() -> None:
    (alias,) = asyncio.run(BoxedModel().aliases())

    assert (alias.name, alias.owned_by, alias.description) == ("guide", "bodhi-jupyter", box.DESCRIPTION)
    assert alias.target.path == box.FILE


def test_a_broken_installation_is_an_error_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "FILE", tmp_path / "guide.gguf")

    with pytest.raises(BackendUnavailable, match="not installed whole"):
        asyncio.run(BoxedModel().aliases())
