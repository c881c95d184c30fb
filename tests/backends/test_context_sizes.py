"""Wishes for larger contexts: which are one, and what they come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bodhi_jupyter.backends.context_sizes import enlarged, with_requested_context
from bodhi_jupyter.catalog.alias import Alias, LocalTarget
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.catalog.discovery import ModelFile

PATH = Path("m.gguf")
FILE = ModelFile("m", PATH, 1, 0, None, None, None, (PATH,))


@pytest.mark.parametrize(
    ("context", "tokens", "trained", "requested"),
    [
        ({"n_ctx": 512}, 1024, 2048, 1024),
        ({"n_ctx": 512}, 1000, 2048, 1024),  # as the engine rounds it
        ({"n_ctx": 512}, 512, 2048, 0),
        ({"n_ctx": 500}, 510, 2048, 0),
        ({"n_ctx": 512}, 256, 2048, 0),
        ({"n_ctx": 512}, 10**9, 2048, 2048),
        ({"n_ctx": 512}, 1024, None, 1024),
        ({"n_ctx": 0}, 4096, 2048, 0),
        ({"n_ctx": 1024, "n_parallel": 2}, 1024, 2048, 1024),
        ({}, 8192, 131072, 8192),
    ],
)
def test_a_context_is_requested_where_it_is_more_than_the_alias_has(context, tokens, trained, requested) -> None:
    alias = Alias("m", LocalTarget(FILE, ContextParams(**context)), 0, "test")
    assert with_requested_context(alias, tokens, trained).requested_context == requested


def test_the_context_of_all_slots_is_what_llama_cpp_is_told() -> None:
    target = LocalTarget(FILE, ContextParams(n_ctx=512, n_parallel=2))
    assert enlarged(target, 1024).context.n_ctx == 2048
    assert enlarged(target, 0) == target
