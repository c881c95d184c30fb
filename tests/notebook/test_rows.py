"""Models in words, and which of them a person wants to see."""

from __future__ import annotations

import pytest

from bodhi_jupyter.notebook.listing import Listing, server_status
from bodhi_jupyter.notebook.rows import (
    Filter,
    Row,
    bytes_text,
    capabilities_in,
    count_text,
    row_of,
    sources_in,
    speed_text,
    tokens_text,
    with_alias,
)

LOCAL = {
    "id": "tutor",
    "owned_by": "user",
    "description": "Explains",
    "tags": ["teaching"],
    "meta": {
        "backend": "local",
        "state": "failed",
        "reason": "It is cut off.",
        "size": 4_700_000_000,
        "quantization": "Q4_K_M",
        "n_ctx": 8192,
        "n_params": 7_600_000_000,
        "capabilities": ["completion", "tools"],
    },
}


def test_a_local_model():
    assert row_of(LOCAL, {"local": True}) == Row(
        name="tutor",
        description="Explains",
        state="failed",
        reason="It is cut off.",
        size="4.7 GB",
        quantization="Q4_K_M",
        context="8,192",
        parameters="7.6 B",
        source="user",
        capabilities=("completion", "tools"),
        tags=("teaching",),
        backend="local",
        well=True,
    )


@pytest.mark.parametrize("model", [{"id": "a"}, {"id": "a", "meta": None}, {"id": "a", "meta": {"size": None}}])
def test_little_may_be_known(model):
    assert row_of(model) == Row(name="a")


@pytest.mark.parametrize(
    ("alias", "alias_of", "defaults"),
    [
        ({"path": "/home/me/.venv/models/guide.gguf"}, "guide", ""),
        ({"path": "C:\\models\\guide.gguf"}, "guide", ""),
        ({"repo": "o/r", "filename": "Q4/qwen.Q4_K_M.gguf"}, "o/r:qwen.Q4_K_M", ""),
        ({"repo": "o/r", "filename": "gemma-Q4_0-00001-of-00002.gguf"}, "o/r:gemma-Q4_0", ""),
        ({"path": "gemma-Q4_0-00001-of-00002.gguf"}, "gemma-Q4_0", ""),
        ({"backend": "gpu-box", "model": "llama"}, "llama on gpu-box", ""),
        (
            {"path": "a.gguf", "request_params": {"temperature": 0.3, "system_prompt": "Be kind.", "top_k": 4}},
            "a",
            "temperature 0.3 · system prompt · top k 4",
        ),
        (
            {"path": "a.gguf", "request_params": {"cache_prompt": True, "ignore_eos": False}},
            "a",
            "cache prompt true · ignore eos false",
        ),
    ],
)
def test_what_an_alias_stands_for(alias, alias_of, defaults):
    row = with_alias(Row("tutor"), alias)

    assert (row.alias_of, row.defaults) == (alias_of, defaults)
    assert with_alias(row, None) is row


@pytest.mark.parametrize(("speed", "text"), [(4.24, "4.2"), (41.25, "41"), (3528.9, "3,529")])
def test_speeds(speed, text):
    assert speed_text(speed) == text


@pytest.mark.parametrize(
    ("capabilities", "writes"), [((), True), (("completion", "tools"), True), (("embedding",), False)]
)
def test_what_can_be_asked(capabilities, writes):
    assert Row("a", capabilities=capabilities).writes is writes


@pytest.mark.parametrize(
    ("wanted", "matching"),
    [
        (Filter(), True),
        (Filter("TUT"), True),
        (Filter("teach q4_k"), True),
        (Filter("explains nothing"), False),
        (Filter(capability="tools"), True),
        (Filter(capability="vision"), False),
        (Filter(source="user"), True),
        (Filter("tutor", "tools", "local"), False),
    ],
)
def test_filters(wanted, matching):
    assert wanted.matches(row_of(LOCAL)) == matching


def test_what_can_be_filtered_by():
    rows = [row_of(LOCAL), Row("b", source="box", capabilities=("vision",)), Row("c")]

    assert (capabilities_in(rows), sources_in(rows)) == (["completion", "tools", "vision"], ["box", "user"])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, ""),
        (0, ""),
        (999, "999 B"),
        (999_600, "1 MB"),
        (594_944, "595 kB"),
        (1_234_567_890, "1.23 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_bytes(size, text):
    assert bytes_text(size) == text


@pytest.mark.parametrize(("tokens", "text"), [(None, ""), (512, "512"), (4096, "4,096"), (131072, "131,072")])
def test_tokens(tokens, text):
    assert tokens_text(tokens) == text


@pytest.mark.parametrize(("count", "text"), [("x", ""), (12, "12"), (279_000, "279 k"), (7_600_000_000, "7.6 B")])
def test_counts(count, text):
    assert count_text(count) == text


def test_a_table_for_any_front_end():
    listing = Listing([LOCAL, {"id": "<b>\x1b[2J"}])

    assert repr(listing).splitlines()[1] == "tutor   failed  4.7 GB  Q4_K_M        8,192    user"
    assert "\x1b" not in repr(listing)
    assert "&lt;b&gt;" in listing._repr_html_()
    assert "<b>" not in listing._repr_html_()


def test_the_servers_state_in_lines():
    health = {
        "status": "degraded",
        "backends": {
            "local": {"ok": True, "detail": "loaded: tutor"},
            "gpu-box": {"ok": False, "detail": "cannot be reached"},
        },
        "models": {"tutor": {"state": "loaded"}, "big": {"state": "loading"}},
        "broken_files": [
            {"name": "x.yaml", "line": 3, "reason": "no"},
            {"name": "y.gguf", "line": None, "reason": "cut short"},
        ],
    }

    assert server_status("http://127.0.0.1:8888", health, "tutor").splitlines() == [
        "http://127.0.0.1:8888: not all is well",
        "  local: loaded: tutor",
        "  gpu-box: cannot be reached",
        "  big: loading",
        "  x.yaml, line 3: no",
        "  y.gguf: cut short",
        "Questions go to tutor.",
    ]
