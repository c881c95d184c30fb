"""A streamed completion on its way through: guarded, and where llama.cpp differs from OpenAI, put right."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .answer_rules import CUT, TextRule
from .chunk_parts import text_or_empty
from .completions import CompletionRequest
from .errors import BackendFailed
from .guard import StreamGuard
from .json_text import compact
from .sse import comment, data_event, iter_events
from .usage_sum import count_in, summed

#: llama.cpp sends one wherever it begins with another prompt of several (measured).
_NULL_EVENT = b"data: null\n\n"
_ENVELOPE = ("id", "object", "created", "model", "system_fingerprint")


class CompletionGuard:
    """Guards a stream of ``text_completion`` chunks, and mends it.

    Blocks pass as bytes unless something in them has to change:

    - ``echo``: the prompt is put before an answer's first text.
    - ``logprobs`` come in the chat's form and leave in the completions' own.
    - ``usage`` comes with each answer's last chunk, asked for or not; it leaves, when asked for, as one chunk
      without choices that counts all answers, and each prompt once.
    - ``max_tokens: 0`` gives one token there; it is dropped.

    An answer that ends by itself, and is not the JSON that a `json_schema` or `response_format` asks for, is an error.

    Args:
        backend: its name, for messages.
        echo: the prompts' texts, if they are to be repeated.
    """

    def __init__(self, backend: str, request: CompletionRequest, echo: Sequence[str] = ()) -> None:
        self._backend = backend
        # Not the request: its prompts may be long, and the answer takes long.
        self._choices = request.choices
        self._answers_per_prompt = answers = request.answers_per_prompt
        self._alternatives = request.logprobs
        self._reports_usage = request.reports_usage
        self._guard = StreamGuard(backend, self._choices)
        self._echo = {index: echo[index // answers] for index in range(self._choices)} if echo else {}
        self._silent = request.max_tokens == 0
        self._rule = request.text_rule
        self._heard: dict[int, list[str]] = {}
        self._tokens: dict[int, LegacyLogprobs] = {}
        self._usages: dict[int, Mapping[str, Any]] = {}
        self._total: Mapping[str, Any] | None = None
        self._envelope: dict[str, Any] = {}
        self._held = b""
        self.over = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.bytes_to_check = 0

    def feed(self, chunk: bytes) -> bytes:
        """The whole events so far, without the terminal one.

        Raises:
            BackendFailed: what was to be mended is no chunk of a completion, or an answer does not fit its schema.
        """
        if self._rule is not None:
            self.bytes_to_check += len(chunk)
        block = self._guard.feed(self._without_nulls(chunk) if self._choices > 1 else chunk)
        self.over = self._guard.over
        if not block or not self._to_be_mended(block):
            return block
        return b"".join(self._mended(block))

    def feed_plain(self, chunk: bytes) -> None:
        """Never: plain events are those of chats."""

    def end(self) -> bytes:
        """The usage, if it was asked for, and ``[DONE]``.

        Raises:
            GatewayError: the stream did not end in success.
        """
        if self._held:
            self._guard.feed(self._held)
        done = self._guard.end()
        usage = self._usage()
        if usage is None or not self._reports_usage:
            return done
        return data_event(compact({**self._envelope, "choices": [], "usage": usage})) + done

    def _without_nulls(self, chunk: bytes) -> bytes:
        # A JSON text has no raw line end, so the bytes of the null event are nothing else; a part of one is held back.
        data = (self._held + chunk).replace(_NULL_EVENT, b"")
        held = next((size for size in range(len(_NULL_EVENT) - 1, 0, -1) if data.endswith(_NULL_EVENT[:size])), 0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def _to_be_mended(self, block: bytes) -> bool:
        is_heard, has_logprobs = self._rule is not None, self._alternatives is not None
        return bool(self._echo) or self._silent or is_heard or has_logprobs or b'"usage"' in block

    def _mended(self, block: bytes) -> Iterator[bytes]:
        for event in iter_events(block):
            if event.data is None:
                yield comment("waiting")
                continue
            try:
                chunk = self._mend(json.loads(event.data))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise BackendFailed(f"The backend {self._backend!r} sent what is no part of a completion.") from None
            if chunk is not None:
                yield data_event(compact(chunk))

    def _mend(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """The chunk as OpenAI would send it; None when nothing of it is left."""
        usage = chunk.pop("usage", None)
        self._envelope = {key: chunk[key] for key in _ENVELOPE if key in chunk}
        if not isinstance(chunk["choices"], list):
            raise TypeError("choices")
        if usage is not None:
            # Before an answer is checked, for which its caller may not wait.
            self._count(usage, chunk["choices"])
            # A chunk that brings usage alone is replaced by ours.
            if not chunk["choices"]:
                return None
        for part in chunk["choices"]:
            self._mend_choice(part)
        return chunk

    def _mend_choice(self, part: dict[str, Any]) -> None:
        index: int = part.get("index", 0)
        if self._silent:
            part.update(text="", logprobs=None)
            if part.get("finish_reason"):
                part["finish_reason"] = "length"
        if self._rule is not None:
            self._hear(self._rule, index, part)
        if index in self._echo:
            part["text"] = self._echo.pop(index) + part["text"]
        if self._alternatives is not None and part.get("logprobs") and "content" in part["logprobs"]:
            tokens = self._tokens.setdefault(index, LegacyLogprobs(self._alternatives))
            part["logprobs"] = tokens.convert(part["logprobs"]["content"])

    def _hear(self, rule: TextRule, index: int, part: Mapping[str, Any]) -> None:
        heard = self._heard.setdefault(index, [])
        heard.append(text_or_empty(part.get("text"), "text"))
        reason = part.get("finish_reason")
        if reason and reason not in CUT:
            rule.check("".join(heard), f"The answer of the backend {self._backend!r}")

    def _count(self, usage: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> None:
        if choices:
            self._usages[choices[0].get("index", 0)] = usage
        else:
            self._total = usage
        counted = self._usage() or {}
        self.prompt_tokens = _known(counted.get("prompt_tokens"))
        self.completion_tokens = _known(counted.get("completion_tokens"))

    def _usage(self) -> dict[str, Any] | None:
        """The tokens of all answers, and of each prompt once."""
        if self._total is not None:
            usage = dict(self._total)
        elif len(self._usages) == 1:
            (usage,) = map(dict, self._usages.values())
        elif self._usages:
            firsts = [one for index, one in self._usages.items() if index % self._answers_per_prompt == 0]
            usage = summed(self._usages.values(), firsts)
        else:
            return None
        if self._silent:
            usage.update(completion_tokens=0, total_tokens=count_in(usage, "prompt_tokens"))
        return usage


class LegacyLogprobs:
    """One answer's log probabilities in the form of ``/v1/completions``.

    ``top_logprobs`` has the `alternatives` likeliest tokens and the one that was taken; ``text_offset`` counts
    characters from the beginning of the answer's text.
    """

    def __init__(self, alternatives: int) -> None:
        self._alternatives = alternatives
        self._characters = 0
        # A character may be spread over several tokens.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def convert(self, content: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """The next tokens, from the form of ``/v1/chat/completions``."""
        # Tokens of a stop word come in a stream, without their text; the engine's whole answer has none of them.
        shown = [one for one in content if one["token"] or one.get("bytes")]
        return {
            "tokens": [one["token"] for one in shown],
            "token_logprobs": [one["logprob"] for one in shown],
            "top_logprobs": [self._top(one) for one in shown],
            "text_offset": [self._offset(one) for one in shown],
        }

    def _top(self, entry: Mapping[str, Any]) -> dict[str, float]:
        likeliest = (entry.get("top_logprobs") or [])[: self._alternatives]
        return {**{one["token"]: one["logprob"] for one in likeliest}, entry["token"]: entry["logprob"]}

    def _offset(self, entry: Mapping[str, Any]) -> int:
        offset = self._characters
        data = entry.get("bytes")
        self._characters += len(self._decoder.decode(entry["token"].encode() if data is None else bytes(data)))
        return offset


def _known(count: object) -> int | None:
    """What a server tells that may send anything; what is no number is not known."""
    return count if isinstance(count, int) else None
