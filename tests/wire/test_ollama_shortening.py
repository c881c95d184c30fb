"""A chat without its oldest messages."""

from __future__ import annotations

from typing import Any

import pytest

from bodhi_jupyter.wire.errors import ContextExceeded, GatewayError, RejectedByBackend
from bodhi_jupyter.wire.ollama_shortening import is_overflow, shortened
from bodhi_jupyter.wire.upstream import refusal

NO_COUNTS = RejectedByBackend("too long", status=400, code="context_length_exceeded")
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}


def exceeded(prompt: int, context: int) -> GatewayError:
    return ContextExceeded("too long", prompt_tokens=prompt, context_tokens=context)


def message(role: str, content: Any = "x" * 84) -> dict[str, Any]:
    return {"role": role, "content": content}


CALL = {**message("assistant", ""), "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("roles", "error", "kept"),
    [
        ("suauau", NO_COUNTS, [0, 2, 3, 4, 5]),
        ("suauau", exceeded(100, 100), [0, 2, 3, 4, 5]),
        ("uuuuuuuuuu", exceeded(200, 100), [5, 6, 7, 8, 9]),
        ("suuuuuuuuu", exceeded(200, 100), [0, 6, 7, 8, 9]),
        ("uuuuuuuuuu", exceeded(10**9, 1), [9]),
        ("ususu", exceeded(10**9, 1), [1, 3, 4]),
        ("uuttau", exceeded(3, 2), [4, 5]),
        ("uattt", NO_COUNTS, [1, 2, 3, 4]),
        ("attt", NO_COUNTS, [3]),
        ("u", exceeded(10, 1), None),
        ("su", exceeded(10, 1), None),
        ("s", exceeded(10, 1), None),
    ],
)
def test_what_is_left(roles, error, kept) -> None:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    messages = [{**message(names[role]), "number": number} for number, role in enumerate(roles)]
    fewer = shortened(messages, error)
    assert (fewer if fewer is None else [one["number"] for one in fewer]) == kept


def test_an_image_is_not_as_long_as_its_bytes() -> None:
    messages = [message("user", [IMAGE]), *(message("user", "x" * 984) for _ in range(8)), message("user", "y")]
    assert len(shortened(messages, exceeded(1000, 500)) or []) == 5


def test_calls_and_thoughts_count() -> None:
    heavy = {**CALL, "reasoning_content": "x" * 10**5}
    assert shortened([heavy, message("user"), message("user")], exceeded(2, 1)) == [message("user")] * 2


def test_the_engines_counts_are_kept() -> None:
    body = b'{"error":{"type":"exceed_context_size_error","message":"no","n_prompt_tokens":9,"n_ctx":8,"code":400}}'
    error = refusal(400, body, "local")
    assert isinstance(error, ContextExceeded)
    assert (error.prompt_tokens, error.context_tokens, error.status) == (9, 8, 400)
    assert is_overflow(error)
    assert is_overflow(NO_COUNTS)
    assert not is_overflow(RejectedByBackend("no", status=400))
