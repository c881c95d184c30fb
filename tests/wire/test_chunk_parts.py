import re
from collections.abc import Callable
from typing import Any

import pytest

from bodhi_jupyter.wire.chunk_parts import (
    MalformedChunk,
    as_array,
    as_object,
    as_objects,
    as_text,
    index_of,
    text_or_empty,
)

Narrowing = Callable[[Any, str], Any]


@pytest.mark.parametrize(
    ("narrowed", "value", "found"),
    [
        (as_object, {"a": 1}, {"a": 1}),
        (as_object, None, {}),
        (as_array, [None, 1], [None, 1]),
        (as_array, None, []),
        (as_objects, [{"a": 1}, {}], [{"a": 1}, {}]),
        (as_objects, None, []),
        (as_text, "", ""),
        (text_or_empty, "a", "a"),
        (text_or_empty, None, ""),
    ],
)
def test_a_part_of_the_right_type_is_itself_and_null_is_nothing(narrowed: Narrowing, value: Any, found: Any) -> None:
    assert narrowed(value, "part") == found


@pytest.mark.parametrize(
    ("narrowed", "value", "says"),
    [
        (as_object, [], "part is not an object"),
        (as_array, {}, "part is not an array"),
        (as_array, "", "part is not an array"),
        (as_objects, {}, "part is not an array"),
        (as_objects, [{}, None], "part[] is not an object"),
        (as_text, None, "part is not a string"),
        (as_text, 0, "part is not a string"),
        (text_or_empty, False, "part is not a string"),
    ],
)
def test_a_part_of_another_type_is_refused(narrowed: Narrowing, value: Any, says: str) -> None:
    with pytest.raises(MalformedChunk, match=f"^{re.escape(says)}$"):
        narrowed(value, "part")


def test_an_index_is_an_integer_or_the_default() -> None:
    assert index_of({"index": 2}) == 2
    assert index_of({}, default=1) == index_of({"index": None}, default=1) == 1
    for part in ({}, {"index": None}, {"index": "0"}):
        with pytest.raises(MalformedChunk, match="index is not an integer"):
            index_of(part)
