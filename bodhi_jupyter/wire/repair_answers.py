"""What llama.cpp gets wrong in answers to chats, put right; `repair` does it for requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import BackendFailed
from .guard import Plain, StreamGuard
from .json_text import compact
from .openai import ChatRequest
from .plain_events import Frame
from .repair_messages import complete_arguments
from .schema_answers import require_fit
from .sse import comment, data_event, iter_events

# As llama.cpp writes them; inside a JSON string the quotation marks would be escaped, so only keys can match.
_NO_CONTENT = b'"role":"assistant","content":null'
_EMPTY_CONTENT = b'"role":"assistant","content":""'
_USAGE_ALONE = re.compile(rb'"choices": ?\[\]')
_CREATED_KEY = b'"created":'
_CREATED = re.compile(_CREATED_KEY + rb"[0-9]+")
_REASONING = b'"reasoning_content":"'
_REASONING_TEXT = re.compile(rb'"reasoning_content":("(?:[^"\\]|\\.)*+")')
_OTHER_NAME = b'"reasoning":'
_TWICE = b'%b","reasoning":"%b'


class AnswerRepairs:
    """What one request's answer needs.

    Args:
        request: as the caller sent it, not as it was repaired.
        backend: its name, for messages.
    """

    def __init__(self, request: ChatRequest, backend: str) -> None:
        self._backend = backend
        self._trims = bool(request.logprobs) and not request.top_logprobs
        self._calls_functions = request.functions is not None
        self._schema = request.strict_schema
        self._texts: dict[int, list[str]] = {}

    @property
    def every_event(self) -> bool:
        """Whether the events of a stream have to be read one by one."""
        return self._trims or self._calls_functions or self._schema is not None

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The ``chat.completion``, mended in place.

        Raises:
            BackendFailed: it is none, or `require_fit` refuses it.
        """
        try:
            for choice in answer["choices"]:
                self._mend(choice, choice["message"])
        except (AttributeError, KeyError, TypeError):
            raise self._not_an_answer() from None
        return answer

    def _mend(self, choice: dict[str, Any], message: dict[str, Any]) -> None:
        if self._trims:
            trim_alternatives(choice)
        if message.get("tool_calls") and choice.get("finish_reason") != "length":
            complete_arguments(message)
        if self._calls_functions:
            tool_call_to_function_call(choice, message)
        name_reasoning_twice(message)
        message.setdefault("refusal", None)
        choice.setdefault("logprobs", None)
        if self._schema is not None and choice.get("finish_reason") == "stop":
            self._check(message.get("content") or "")

    def chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """One ``chat.completion.chunk``, mended in place; for streams with `every_event`.

        Raises:
            BackendFailed: it is none, or `require_fit` refuses the answer that ends here.
        """
        try:
            for choice in chunk.get("choices") or []:
                self._mend_piece(choice, choice.get("delta") or {})
        except (AttributeError, KeyError, TypeError):
            raise self._not_an_answer() from None
        return chunk

    def _mend_piece(self, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        if self._trims:
            trim_alternatives(choice)
        if self._calls_functions:
            tool_call_to_function_call(choice, delta)
        if self._schema is not None:
            self._follow(choice, delta)

    def _not_an_answer(self) -> BackendFailed:
        return BackendFailed(f"The backend {self._backend!r} sent what is no part of an answer.")

    def _follow(self, choice: Mapping[str, Any], delta: Mapping[str, Any]) -> None:
        text = self._texts.setdefault(choice.get("index", 0), [])
        text.append(delta.get("content") or "")
        if choice.get("finish_reason") == "stop":
            self._check("".join(text))

    def _check(self, text: str) -> None:
        if self._schema is not None:
            whose = f"The answer of the backend {self._backend!r}"
            require_fit(self._schema, text, whose=whose, field="response_format")


class ChatGuard(StreamGuard):
    """Mends a streamed chat on its way through: as bytes, unless the request needs every event read.

    Args:
        request: as the caller sent it.
        backend: its name, for messages.
    """

    def __init__(self, request: ChatRequest, backend: str) -> None:
        super().__init__(backend, request.choices, hides_usage=not request.reports_usage)
        self._backend = backend
        self._repairs = AnswerRepairs(request, backend)
        self._mends_every_event = self._repairs.every_event
        self._first_deltas = request.choices
        self._created: bytes | None = None
        #: Of several answers: what was told of their usage last.
        self._usage_chunk: dict[str, Any] | None = None
        #: Around a plain text, as it comes and as it leaves.
        self._frames: tuple[Frame, Frame] | None = None

    def end(self) -> bytes:
        """The usage of several answers, in one chunk as OpenAI tells it, and the terminal event.

        Raises:
            GatewayError: the stream did not end in success.
        """
        done = super().end()
        if self._usage_chunk is None:
            return done
        prompt, completion = self.prompt_tokens or 0, self.completion_tokens or 0
        counts = {"completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": prompt + completion}
        usage = {**self._usage_chunk["usage"], **counts}
        return data_event(compact({**self._usage_chunk, "usage": usage})) + done

    def _pass_plain(self, block: bytes) -> Plain | None:
        """Plain events, mended where their frame has to be: not one by one."""
        if self._mends_every_event or (texts := self._plain.texts(block)) is None:
            return None
        assert self._plain.frame is not None
        if self._frames is None or self._frames[0] is not self._plain.frame:
            self._frames = self._plain.frame, self._mended(self._plain.frame)
        before, after = self._frames
        if after is not before:
            if after.kind == b"reasoning_content":
                texts = [_TWICE % (text, text) for text in texts]
            block = b"%b%b%b" % (after.before, (after.behind + after.before).join(texts), after.behind)
        return block, len(texts)

    def _mended(self, frame: Frame) -> Frame:
        behind = self._of_one_moment(frame.behind)
        if behind == frame.behind and frame.kind == b"content":
            return frame
        return frame._replace(behind=behind)

    def _pass_mixed(self, block: bytes) -> bytes:
        """Whatever came, mended.

        Raises:
            BackendFailed: the answer does not fit the strict schema.
        """
        block = super()._pass_mixed(block)
        if not block:
            return block
        block = self._of_one_moment(block)
        if self._choices > 1 and _USAGE_ALONE.search(block):
            block = b"".join(self._without_usage(block))
        if self._first_deltas > 0 and _NO_CONTENT in block:
            self._first_deltas -= block.count(_NO_CONTENT)
            block = block.replace(_NO_CONTENT, _EMPTY_CONTENT)
        if _REASONING in block:
            block = name_reasoning_twice_in(block)
        return b"".join(self._read(block)) if self._mends_every_event else block

    def _of_one_moment(self, block: bytes) -> bytes:
        """All chunks have the first one's ``created``; llama.cpp writes the current second (measured)."""
        if self._created is None:
            found = _CREATED.search(block)
            if found is None:
                return block
            self._created = found.group()
        if block.count(self._created) == block.count(_CREATED_KEY):
            return block
        return _CREATED.sub(self._created, block)

    def _read(self, block: bytes) -> Iterator[bytes]:
        for _, chunk in self._chunks(block):
            yield comment("waiting") if chunk is None else data_event(compact(self._repairs.chunk(chunk)))

    def _without_usage(self, block: bytes) -> Iterator[bytes]:
        """llama.cpp tells of each answer by itself (measured), and clients keep what comes last."""
        for data, chunk in self._chunks(block):
            if chunk is None:
                yield comment("waiting")
            elif chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict):
                self._usage_chunk = chunk
            else:
                yield data_event(data)

    def _chunks(self, block: bytes) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        """The data of each event, and what it says; None for a comment."""
        for event in iter_events(block):
            if event.data is None:
                yield b"", None
                continue
            try:
                yield event.data, json.loads(event.data)
            except ValueError:
                raise BackendFailed(f"The backend {self._backend!r} sent an event that is not JSON.") from None


def trim_alternatives(choice: Mapping[str, Any]) -> None:
    """The one alternative that had to be asked for (`repair.ask_for_one_alternative`): OpenAI sends an empty list."""
    for token in (choice.get("logprobs") or {}).get("content") or []:
        token["top_logprobs"] = []


def tool_call_to_function_call(choice: dict[str, Any], message: dict[str, Any]) -> None:
    """The answer to a request with the deprecated `functions`; `message` is the choice's message or delta."""
    for call in message.pop("tool_calls", None) or []:
        if call.get("index", 0) == 0 and "function_call" not in message:
            message["function_call"] = call["function"]
    if choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "function_call"


def name_reasoning_twice(message: dict[str, Any]) -> None:
    """Thoughts as `reasoning_content` (llama.cpp, DeepSeek) and as `reasoning` (Ollama, OpenRouter, vLLM)."""
    if "reasoning_content" in message:
        message.setdefault("reasoning", message["reasoning_content"])
    elif message.get("reasoning") is not None:
        message["reasoning_content"] = message["reasoning"]


def name_reasoning_twice_in(block: bytes) -> bytes:
    """The same in the events of a stream, without reading them."""
    if _OTHER_NAME in block:
        return block
    return _REASONING_TEXT.sub(rb'"reasoning_content":\1,"reasoning":\1', block)
