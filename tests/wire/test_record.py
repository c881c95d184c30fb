"""A request's record: whose dialect, how fast its stream, and what its line tells."""

from __future__ import annotations

import pytest

from bodhi_jupyter.wire.record import RequestRecord, api_path, dialect_of


@pytest.mark.parametrize(
    ("path", "inner", "dialect"),
    [
        ("/v1/chat/completions", "/v1/chat/completions", "openai"),
        ("/v1", "/v1", "openai"),
        ("/v1/messages", "/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens", "anthropic"),
        ("/api/chat", "/api/chat", "ollama"),
        ("/bodhi/health", "/bodhi/health", "bodhi"),
        ("/bodhi/v1/usage", "/bodhi/v1/usage", "bodhi"),
        ("/bodhi/ollama/***/api/chat", "/api/chat", "ollama"),
        ("/bodhi/ollama/***/v1/messages", "/v1/messages", "anthropic"),
        ("/bodhi/ollama/***", "/", "ollama"),
        ("/bodhi/ollama/***/", "/", "ollama"),
    ],
)
def test_a_path_tells_the_dialect_with_or_without_a_key_in_it(path: str, inner: str, dialect: str) -> None:
    assert (api_path(path), dialect_of(path)) == (inner, dialect)


@pytest.mark.parametrize(
    ("first", "last", "chunks", "tokens", "between"),
    [
        (1.0, 3.0, 5, None, 0.5),
        (1.0, 3.0, 5, 11, 0.2),  # several tokens in a chunk
        (1.0, 1.0, 1, 50, None),  # all at once
        (1.0, 3.0, 5, 1, None),
        (None, None, 0, 10, None),
    ],
)
def test_the_time_between_tokens_is_the_streams_mean(first, last, chunks, tokens, between) -> None:
    record = RequestRecord(
        "req_1", "POST /", first_token_seconds=first, last_token_seconds=last, chunks=chunks, completion_tokens=tokens
    )
    assert record.seconds_between_tokens == (between if between is None else pytest.approx(between))


@pytest.mark.parametrize(
    ("told", "counted"), [(0, 0), (7, 7), (-5, 0), (2**53, 2**53), (10**400, 2**53)], ids=lambda n: str(n)[:20]
)
def test_a_count_that_is_none_can_still_be_added_up(told: int, counted: int) -> None:
    record = RequestRecord("req_1", "POST /")
    record.note_tokens(told, told)
    assert (record.prompt_tokens, record.completion_tokens, record.tokens) == (counted, counted, 2 * counted)


def test_counts_that_nobody_told_are_not_known() -> None:
    record = RequestRecord("req_1", "POST /")
    record.note_tokens(7, None)
    assert (record.prompt_tokens, record.completion_tokens, record.tokens) == (7, None, 7)


def test_the_line_tells_what_is_known_and_cannot_be_broken_in_two() -> None:
    record = RequestRecord(
        "req_1", "POST /v1/x", user="ann", client="curl", model="a\nb", alias="tutor", status=400, field="x\ny"
    )
    line = record.line()
    assert "\n" not in line
    assert line == (
        r"request_id=req_1 endpoint='POST /v1/x' user=ann client=curl model='a\nb' alias='tutor' status=400 "
        r"end=finished field='x\ny' seconds=0.000"
    )
