"""A backend's words for the caller: what they say of the request stays, what they tell of the network does not."""

from __future__ import annotations

import json
import time

import pytest

from bodhi_jupyter.wire.refusals import document_refusal
from bodhi_jupyter.wire.upstream import refusal, stream_failure

#: What a backend says, and what of it nobody may read.
LEAKS = [
    (
        "Cannot connect to host gpu-3.cluster.local:8000 [Connect call failed ('10.2.3.4', 8000)]",
        ["gpu-3", "cluster", "10.2.3.4"],
    ),
    ("upstream at gpu-box:8080 key sk-abc123 rejected", ["gpu-box", "8080", "sk-abc123"]),
    ("HTTPConnectionPool(host='gpu3', port=8000): Max retries exceeded", ["gpu3", "8000"]),
    ("connect to [fd12:3456::1]:8000 failed", ["fd12", "3456"]),
    ("connect to fe80:1:2:3:4:5:6:7 failed", ["fe80"]),
    ("no route to ::1", ["::1"]),
    ("no route to 10.2.3.4.", ["10.2.3.4"]),
    ("redis://:secret@cache/0 is away", ["secret", "cache"]),
    ("lookup vllm.models.svc.cluster.local. failed", ["vllm", "cluster"]),
    ("localhost refused", ["localhost"]),
    ("Incorrect API key provided: sk-proj-9xYz_1234567890.", ["9xYz", "sk-proj"]),
    ("Authorization: Bearer abcdefgh", ["abcdefgh"]),
    ("token=abcdefgh was refused", ["abcdefgh"]),
    ("the key 0123456789abcdef0123456789abcdef is revoked", ["0123456789abcdef"]),
    ("api_key: sekrit12345 was refused", ["sekrit12345"]),
    ("token=abc was refused, password: xyz1", ["abc", "xyz1"]),
    ("Bearer abcdefgh was refused", ["abcdefgh"]),
    ("Authorization: Basic YWJj was refused", ["YWJj"]),
    ("the key bodhi-a1b2c3d4e5 is revoked", ["a1b2c3d4e5"]),
]
#: What llama.cpp and others say of requests.
WORDS = [
    "the request exceeds the available context size, try increasing it",
    "input (1804 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
    "Field 'n': Value must be between 1 <= value <= 1",
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "std::bad_alloc at row 12, column 3: a::b, 12:30:45",
    "The model qwen2.5:1.5b (version 1.2.3) takes at most 4,096 tokens: host-side memory is short.",
    "The token 'sk-learn' of key_value_cache is reported = 5 times",
    "error at max_tokens:40960, tools.0.function:12 is bad, token = 5, Missing bearer token in request",
    "as scripted",
]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 504])
@pytest.mark.parametrize(("said", "secrets"), LEAKS, ids=[said[:30] for said, _ in LEAKS])
def test_no_address_and_no_key_is_told(said: str, secrets: list[str], status: int) -> None:
    for error in (
        refusal(status, json.dumps({"error": {"message": said}}).encode(), "box"),
        stream_failure({"code": status, "message": said}, "box"),
    ):
        assert not [secret for secret in secrets if secret in error.message]


@pytest.mark.parametrize("status", [500, 503, 504, 429])
def test_of_a_failure_that_names_an_address_nothing_is_told(status: int) -> None:
    body = json.dumps({"error": {"message": "Cannot connect to host gpu-3:8000, gpu-4"}}).encode()
    assert refusal(status, body, "box").message in {
        "The backend 'box' failed.",
        "The backend 'box' is not ready.",
        "The backend 'box' timed out.",
        "The backend 'box' is busy.",
    }


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("said", WORDS)
def test_what_is_said_of_the_request_stays(said: str, status: int) -> None:
    error = refusal(status, json.dumps({"error": {"message": said}}).encode(), "box")
    assert error.message == (said if status == 400 else f"The backend 'box' failed: {said}")


@pytest.mark.parametrize("piece", ["a", "a-", "a.", "a:", "1.", "f:", "::", "sk-", "a.local", "/a", "token=", "ab12"])
def test_a_long_message_is_read_once(piece: str) -> None:
    """Where it was read from each of its letters on, this would take hours."""
    body = json.dumps({"error": {"message": piece * 200_000}}).encode()
    assert refusal(500, body, "box").message.startswith("The backend 'box' failed")


def test_an_answer_that_repeats_a_long_request_is_read_once() -> None:
    body = b'{"detail": "%b"}' % (b"(1 tokens) is too large to process " * 30_000)
    begun = time.perf_counter()
    document_refusal(422, body, "gpu", field="input", feature="embeddings")
    assert time.perf_counter() - begun < 2


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("context_length_exceeded", "context_length_exceeded"),
        ("model.not-found:404", "model.not-found:404"),
        ("x\nstatus=200 FORGED", None),
        ("x y", None),
        ("", None),
        ("é", None),
        (65 * "x", None),
        (404, None),
    ],
)
def test_a_backends_code_is_a_word_or_not_told(told: object, kept: str | None) -> None:
    error = refusal(400, json.dumps({"error": {"message": "no", "code": told}}).encode(), "b")
    assert error.code == (kept or error.default_code)
    assert stream_failure({"message": "no", "code": told}, "b").code.isascii()


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("said", ["model not found", "model 'gone' not found", "Model 'a b/c.gguf' not found."])
def test_a_model_that_a_server_has_not_is_not_found(said: str, status: int) -> None:
    # As llama.cpp's router says it, with 400 (llama.cpp#17968).
    body = {"error": {"code": status, "message": said, "type": "invalid_request_error"}}
    error = refusal(status, json.dumps(body).encode(), "box")
    assert (error.status, error.code, error.param, error.retryable) == (404, "model_not_found", "model", False)
    assert error.message == "The backend 'box' does not have this model (any more)."


@pytest.mark.parametrize("said", ["draft model not found", "model 'a' not found in the cache, or broken: row 3"])
def test_what_else_is_not_found_stays_as_it_is_said(said: str) -> None:
    error = refusal(400, json.dumps({"error": {"message": said}}).encode(), "box")
    assert (error.status, error.message) == (400, said)
