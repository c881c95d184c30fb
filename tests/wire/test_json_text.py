"""What we send is JSON that every client reads."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from bodhi_jupyter.wire.json_text import compact


def strictly(text: bytes) -> Any:
    """As a parser reads it that knows no constants of Python's."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("text", ["é", "\ud800"])
def test_numbers_that_json_has_not_are_null(number: float, text: str) -> None:
    sent = compact({"text": text, "numbers": [number, 1.5, (number, {"deep": number})], "one": number})
    assert strictly(sent) == {"text": text, "numbers": [None, 1.5, [None, {"deep": None}]], "one": None}
    assert b" " not in sent
