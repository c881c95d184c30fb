"""Ollama's options: every row of the mapping, wrong types in Ollama's own words, values the engine would refuse."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.errors import InvalidField
from bodhi_jupyter.wire.ollama_errors import WrongOptionType, ollama_status, ollama_text
from bodhi_jupyter.wire.ollama_options import check_options, context_length_asked, ollama_defaults, sampling_fields


@pytest.mark.parametrize(
    ("option", "value", "field", "sent"),
    [
        ("num_predict", 7, "max_tokens", 7),
        ("num_predict", 7.9, "max_tokens", 7),
        ("num_predict", -1, "max_tokens", 10240),
        ("num_predict", -2, "max_tokens", 10240),
        ("num_predict", 2**40, "max_tokens", 2**31 - 1),
        ("temperature", 0, "temperature", 0),
        ("temperature", 3.5, "temperature", 3.5),
        ("top_k", 10, "top_k", 10),
        ("top_k", 2**40, "top_k", 2**31 - 1),
        ("top_p", 0.5, "top_p", 0.5),
        ("min_p", 0.1, "min_p", 0.1),
        ("typical_p", 0.7, "typical_p", 0.7),
        ("repeat_last_n", 0, "repeat_last_n", 0),
        ("repeat_last_n", -1, "repeat_last_n", 1024),
        ("repeat_last_n", 10**9, "repeat_last_n", 1024),
        ("repeat_penalty", 1.1, "repeat_penalty", 1.1),
        ("presence_penalty", 1, "presence_penalty", 1),
        ("frequency_penalty", 0.5, "frequency_penalty", 0.5),
        ("seed", 42, "seed", 42),
        ("seed", -1, "seed", -1),
        ("seed", 2**32 - 1, "seed", 0),
        ("seed", 2**40 + 5, "seed", (2**40 + 5) % (2**32 - 1)),
        ("stop", "END", "stop", ["END"]),
        ("stop", ["a", "", "b"], "stop", ["a", "b"]),
        ("num_keep", 4, "n_keep", 4),
        ("num_keep", -9, "n_keep", -1),
        ("mirostat", 2, "mirostat", 2),
        ("mirostat_tau", 5.0, "mirostat_tau", 5.0),
        ("mirostat_eta", 0.1, "mirostat_eta", 0.1),
    ],
)
def test_options_that_are_passed_on(option, value, field, sent) -> None:
    check_options({option: value})
    fields = sampling_fields({option: value}, context_length=1024)
    assert fields == {field: sent}
    assert type(fields[field]) is type(sent)


def test_options_of_loading_and_of_the_past_are_left_out() -> None:
    loading = {"num_ctx": 1, "num_batch": 1, "num_gpu": 1, "main_gpu": 0, "num_thread": 2, "use_mmap": True}
    past = {"tfs_z": 1, "penalize_newline": True, "numa": "x", "low_vram": 1, "f16_kv": [], "whatever": {}}
    nulls = {"temperature": None, "stop": None}
    check_options({**loading, **past, **nulls})
    assert sampling_fields({**loading, **past, **nulls}, context_length=None) == {}


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("temperature", "hot", "float32"),
        ("temperature", True, "float32"),
        ("top_p", [], "float32"),
        ("num_ctx", "4096", "integer"),
        ("num_predict", "many", "integer"),
        ("top_k", False, "integer"),
        ("seed", {}, "integer"),
        ("use_mmap", 1, "boolean"),
        ("stop", 1, "array"),
        ("stop", ["a", 1], "array"),
    ],
)
def test_wrong_types(option, value, kind) -> None:
    with pytest.raises(WrongOptionType) as info:
        check_options({option: value})
    assert ollama_status(info.value) == 500
    assert ollama_text(info.value, model="m", endpoint="/api/chat") == f'option "{option}" must be of type {kind}'


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", float("inf")),
        ("temperature", 1e300),
        ("seed", 10**400),
        ("num_ctx", float("inf")),
        ("repeat_penalty", 0),
        ("repeat_penalty", -1.5),
    ],
)
def test_values_without_a_meaning(option, value) -> None:
    with pytest.raises(InvalidField, match=f'option "{option}" must be') as info:
        check_options({option: value})
    assert ollama_status(info.value) == 400
    assert info.value.param == f"options.{option}"


def test_an_unknown_context() -> None:
    options = {"num_predict": -1, "repeat_last_n": -1}
    assert sampling_fields(options, context_length=None) == {"max_tokens": -1, "repeat_last_n": 2**17}
    assert "max_tokens" not in ollama_defaults()
    assert ollama_defaults(context_length=2048)["max_tokens"] == 20480


def test_the_defaults_in_which_the_two_differ_are_said() -> None:
    defaults = ollama_defaults()
    assert (defaults["top_p"], defaults["min_p"], defaults["n_keep"]) == (0.9, 0.0, 4)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"num_ctx": 4096}, 4096),
        ({"num_ctx": 512.7}, 512),
        ({"num_ctx": 0}, None),
        ({"num_ctx": None}, None),
        ({}, None),
    ],
)
def test_the_context_asked_for(options, asked) -> None:
    assert context_length_asked(options) == asked
