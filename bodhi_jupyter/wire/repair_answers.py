"""What llama.cpp gets wrong in answers to chats, put right; `repair` does it for requests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .answer_rules import CUT, AnswerRules, Call
from .assemble import ChatAssembler
from .chat_rules import chat_rules
from .errors import BackendFailed
from .guard import NO_INDEXES, Plain, StreamGuard
from .json_text import compact
from .openai import ChatRequest
from .plain_events import Frame
from .repair_messages import complete_calls
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
    """What one request's answer needs, and has to keep to.

    Args:
        request: as the caller sent it, not as it was repaired.
        backend: its name, for messages.

    Attributes:
        mends_events: the events of a stream have to be mended one by one.
        hears_events: they have to be heard, but for those of a text alone.
        hears_texts: these, too.
    """

    def __init__(self, request: ChatRequest, backend: str) -> None:
        self._backend = backend
        self._trims = bool(request.logprobs) and not request.top_logprobs
        self._calls_functions = request.functions is not None
        self._rules = chat_rules(request, backend)
        #: A stream's answers, as far as they have come.
        self._heard = None if self._rules is None else ChatAssembler(choices=request.choices)
        #: Those of which the last piece has come, perhaps.
        self._unsure = NO_INDEXES
        self.mends_events = self._trims or self._calls_functions
        self.hears_events = self._rules is not None
        self.hears_texts = self._rules is not None and self._rules.text is not None

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The ``chat.completion``, mended in place.

        Raises:
            BackendFailed: it is none, or `AnswerRules.check` refuses it.
        """
        try:
            for choice in answer["choices"]:
                if self._rules is not None:
                    self._check(self._rules, choice)
                self._mend(choice, choice["message"])
        except (AttributeError, KeyError, TypeError):
            raise self._not_an_answer() from None
        return answer

    def _mend(self, choice: dict[str, Any], message: dict[str, Any]) -> None:
        if self._trims:
            trim_alternatives(choice)
        if message.get("tool_calls") and choice.get("finish_reason") != "length":
            complete_calls(message)
        if self._calls_functions:
            tool_call_to_function_call(choice, message)
        name_reasoning_twice(message)
        message.setdefault("refusal", None)
        choice.setdefault("logprobs", None)

    @property
    def is_unsure(self) -> bool:
        """Whether what was heard last may end an answer that is to be checked: the stream tells."""
        return bool(self._unsure)

    def hear(self, chunk: dict[str, Any]) -> bool:
        """Take note of one ``chat.completion.chunk``; for streams with `hears_events`.

        Returns:
            Whether an answer goes on of which it was not sure.

        Raises:
            BackendFailed: it is none, or `AnswerRules.check` refuses the answer that surely ends here.
        """
        assert self._rules is not None
        assert self._heard is not None
        goes_on = False
        try:
            self._heard.add(chunk)
            for choice in chunk.get("choices") or []:
                index = choice.get("index") or 0
                goes_on |= index in self._unsure
                self._unsure -= {index}
                if not choice.get("finish_reason"):
                    continue
                if any((choice.get("delta") or {}).values()):
                    # Gateways in front of Gemini said of each piece that it is the last.
                    self._unsure |= {index}
                else:
                    self._check(self._rules, self._heard.choice(index))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._not_an_answer() from None
        return goes_on

    def hear_end(self) -> None:
        """Nothing more is to come; for streams with `hears_events`.

        Raises:
            BackendFailed: as `hear`.
        """
        assert self._heard is not None
        for index in sorted(self._unsure):
            reason = self._heard.choice(index)["finish_reason"]
            self.hear({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})

    def hear_texts(self, texts: list[bytes]) -> None:
        """The same of texts of the only answer, which are JSON without its quotation marks."""
        assert self._heard is not None
        for text in json.loads(b'["%b"]' % b'","'.join(texts)):
            self._heard.add_text("content", text)

    def chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """One ``chat.completion.chunk``, mended in place; for streams with `mends_events`.

        Raises:
            BackendFailed: it is none.
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

    def _not_an_answer(self) -> BackendFailed:
        return BackendFailed(f"The backend {self._backend!r} sent what is no part of an answer.")

    @staticmethod
    def _check(rules: AnswerRules, choice: Mapping[str, Any]) -> None:
        if choice.get("finish_reason") not in CUT:
            message = choice["message"]
            text = message.get("content") or ""
            rules.check(None if message.get("refusal") and not text else text, list(_calls_in(message)))


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
        self._mends_events = self._repairs.mends_events
        self._hears_events = self._repairs.hears_events
        self._hears_texts = self._repairs.hears_texts
        self._is_checked = self._hears_events or self._hears_texts
        self._first_deltas = request.choices
        self._created: bytes | None = None
        #: Of several answers: what was told of their usage last.
        self._usage_chunk: dict[str, Any] | None = None
        #: Around a plain text, as it came last and as it leaves.
        self._frame: Frame | None = None
        self._mended_frame: Frame | None = None
        #: What may have the last piece of an answer, which would look like a right one.
        self._held = b""

    def end(self) -> bytes:
        """What was held back, the usage of several answers, in one chunk as OpenAI tells it, and the terminal event.

        Raises:
            GatewayError: the stream did not end in success, or the answer is not what was asked for.
        """
        done = super().end()
        if self._held:
            self._repairs.hear_end()
        if self._usage_chunk is None:
            return self._held + done
        prompt, completion = self.prompt_tokens or 0, self.completion_tokens or 0
        counts = {"completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": prompt + completion}
        usage = {**self._usage_chunk["usage"], **counts}
        return self._held + data_event(compact({**self._usage_chunk, "usage": usage})) + done

    def _pass_plain(self, block: bytes) -> Plain | None:
        """Plain events, mended where their frame has to be: not one by one."""
        if self._mends_events or self._held or (texts := self._plain.texts(block)) is None:
            return None
        frame = self._plain.frame
        assert frame is not None
        if self._hears_texts and frame.kind == b"content":
            self._repairs.hear_texts(texts)
        if frame is not self._frame:
            self._frame, self._mended_frame = frame, self._mended(frame)
        after = self._mended_frame
        assert after is not None
        if after is not frame:
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
            BackendFailed: the answer is not what was asked for.
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
        if not self._hears_events:
            return b"".join(self._read(block)) if self._mends_events else block
        go_on = [self._repairs.hear(chunk) for _, chunk in self._chunks(block) if chunk is not None]
        if self._mends_events:
            block = b"".join(self._read(block))
        held, self._held = self._held, b""
        if not self._repairs.is_unsure:
            return held + block
        if any(go_on):  # and so what was held was no last piece
            self._held = block
            return held
        self._held = held + block
        return b""

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


def _calls_in(message: Mapping[str, Any]) -> Iterator[Call]:
    """The calls of a whole message, those in the deprecated form as well."""
    calls = message.get("tool_calls") or []
    if not calls and message.get("function_call"):
        calls = [{"function": message["function_call"]}]
    for call in calls:
        function = call.get("function") or {}
        yield Call(function.get("name"), function.get("arguments"))


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
