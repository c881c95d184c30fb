"""``suffix`` on ``/v1/completions``: llama.cpp's ``/infill``, spoken to and translated back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .completion_stream import CompletionGuard
from .completions import CompletionRequest, common_body
from .errors import BackendFailed, GatewayError, InvalidField
from .events import EventReader
from .json_text import compact
from .sse import comment, data_event

_OTHERWISE_SAID = frozenset({"prompt", "logprobs", "stream_options"})


def infill_body(data: Mapping[str, Any], request: CompletionRequest, model: str) -> dict[str, Any]:
    """What is asked of ``/infill``; `data` is the caller's body with the alias's defaults."""
    body = {key: value for key, value in common_body(data, request).items() if key not in _OTHERWISE_SAID}
    body.update(model=model, input_prefix=request.prompts[0], input_suffix=request.suffix, stream=True)
    if request.logprobs is not None:
        body["n_probs"] = max(1, request.logprobs)
    return body


def probe_body(data: Mapping[str, Any], request: CompletionRequest) -> dict[str, Any]:
    """The same for one token, answered whole: whether the model can, and what of the texts it will see.

    The engine keeps the prompt it evaluates, so that the question costs little.
    """
    body = infill_body(data, request, request.model)
    return {**body, "stream": False, "max_tokens": 1, "n_predict": 1, "n": 1, "n_probs": 0}


def check_probe(answer: Mapping[str, Any], request: CompletionRequest) -> None:
    """Refuse what the engine would cut without a word: it keeps the end of the prefix and the start of the suffix.

    Raises:
        InvalidField: a part of the caller's text is not in the prompt that the engine made of it.
    """
    seen = answer.get("prompt")
    if not isinstance(seen, str):
        return
    for field, text in (("prompt", request.prompts[0]), ("suffix", request.suffix or "")):
        if isinstance(text, str) and text not in seen:
            raise InvalidField(
                f"Invalid '{field}': it is longer than what the engine reads around a gap. Shorten it to what is "
                "next to the gap, or let the alias raise the limit (`embeddings: true`).",
                param=field,
                code="context_length_exceeded",
            )


def cannot_infill(error: GatewayError) -> InvalidField:
    """The error for a model, or a backend, that cannot fill in the middle; `error` says why."""
    return InvalidField(
        f"Invalid 'suffix': this model cannot fill in the middle of a text. {error.message}",
        param="suffix",
        code="unsupported_value",
    )


class InfillGuard:
    """Translates the stream of ``/infill``, which has a form of its own, and has a `CompletionGuard` look after it.

    Args:
        guard: for the completion that leaves.
        identity: ``id``, ``created`` and ``model`` of the answer, which ``/infill`` does not give.
    """

    def __init__(self, backend: str, guard: CompletionGuard, identity: Mapping[str, Any]) -> None:
        self._backend = backend
        self._guard = guard
        self._identity = identity
        self._events = EventReader(backend)
        self.bytes_to_check = 0

    @property
    def prompt_tokens(self) -> int | None:
        """As the stream told by now, or None."""
        return self._guard.prompt_tokens

    @property
    def completion_tokens(self) -> int | None:
        """The same."""
        return self._guard.completion_tokens

    @property
    def over(self) -> bool:
        """Nothing more is to be read: the answer is finished, or it failed."""
        return self._events.over or self._guard.over

    def feed(self, chunk: bytes) -> bytes:
        """The whole events so far, translated.

        Raises:
            BackendFailed: what came is no event of ``/infill``.
        """
        try:
            block = b"".join(self._translated(self._events.complete(chunk)))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise BackendFailed(f"The backend {self._backend!r} sent what is no part of a completion.") from None
        passed = self._guard.feed(block)
        self.bytes_to_check = self._guard.bytes_to_check
        return passed

    def feed_plain(self, chunk: bytes) -> None:
        """Never: every event is read."""

    def end(self) -> bytes:
        """The terminal event.

        Raises:
            GatewayError: the stream did not end in success.
        """
        self._events.close(finished=True)
        return self._guard.end()

    def _translated(self, block: bytes) -> Iterator[bytes]:
        for _, native in self._events.read(block):
            yield comment("waiting") if native is None else data_event(compact(self._translate(native)))

    def _translate(self, native: Mapping[str, Any]) -> dict[str, Any]:
        tokens = native.get("completion_probabilities")
        choice = {
            "text": native["content"],
            "index": native.get("index", 0),
            "logprobs": {"content": tokens} if tokens and not native["stop"] else None,
            "finish_reason": None,
        }
        chunk = {"choices": [choice], **self._identity, "object": "text_completion"}
        if native["stop"]:
            choice["finish_reason"] = "length" if native.get("stop_type") == "limit" else "stop"
            prompt, completion = int(native["tokens_evaluated"]), int(native["tokens_predicted"])
            chunk["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            }
            chunk["timings"] = native.get("timings")
        return chunk
