"""Names of models as callers write them."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.names import MAX_NAME_LENGTH, InvalidModelName, check_model_name


@pytest.mark.parametrize(
    "name", ["m", "/models/foo.gguf", "C:\\models\\foo.gguf", "my model (1)", "Ünï", "@cf/x", "m" * MAX_NAME_LENGTH]
)
def test_whatever_a_server_calls_its_model_may_be_asked_for(name) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("name", ["m" * (MAX_NAME_LENGTH + 1), "a\nb", "a\0", "a\x7f", "a\x9b", "a\ud800"])
def test_what_no_log_line_takes_is_refused_and_not_repeated(name) -> None:
    with pytest.raises(InvalidModelName) as refused:
        check_model_name(name)
    assert name not in refused.value.message
    assert (refused.value.status, refused.value.param) == (400, "model")
