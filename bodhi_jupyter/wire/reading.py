"""Reads a streamed chat whose caller wants the answer whole; what is passed on as a stream goes through `guard`."""

from __future__ import annotations

from typing import Any

import pydantic_core

from .assemble import ChatAssembler
from .chunk_parts import MalformedChunk
from .errors import BackendFailed
from .events import EventReader
from .guard import token_counts
from .plain_events import behind_next, plain_events

#: As a stream: half a million tokens, or 64 thousand with twenty alternatives for each (250 bytes and 2 KB, measured).
#: Of the first a 25th is kept, of the second five times as much, as objects.
MAX_ANSWER_BYTES = 128 * 2**20


def check_answer_size(size: int, answers: int = 1) -> None:
    """See that an answer of which something is kept until it is whole has an end.

    Args:
        size: bytes of its stream.
        answers: how many it has, of which each may be so long.

    Raises:
        BackendFailed: there is more than any model has to say.
    """
    most = answers * MAX_ANSWER_BYTES
    if size > most:
        raise BackendFailed(f"The backend sent an answer of more than {most // 2**20} MiB.")


class ChatReader:
    """Takes in the bytes of one chat's stream, and knows whether it ended well.

    Each event is looked at once, where a guard and an assembler behind it both would (measured: a tenth of a short
    request), and plain ones are not parsed.

    Args:
        backend: its name, for messages.
        choices: how many finish reasons make the answer whole.

    Attributes:
        events: how many were taken in.
        size: of what was taken in, in bytes.
        prompt_tokens: as the stream told, or None.
        completion_tokens: as the stream told, or None.
    """

    def __init__(self, backend: str, choices: int = 1) -> None:
        self.events = 0
        self.size = 0
        self._backend = backend
        self._stream = EventReader(backend)
        self._choices = choices
        self._assembler = ChatAssembler(choices=choices)
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    def take(self, chunk: bytes) -> bool:
        """Take in what came; whether nothing more is to be read: the stream's own end came, or a failure.

        Raises:
            BackendFailed: it is too much.
        """
        stream = self._stream
        self.size += len(chunk)
        check_answer_size(self.size, self._choices)
        block = stream.complete(chunk)
        read = 0
        while read < len(block) and not stream.over:
            for kind, text, end in plain_events(block, read):
                self._assembler.add_text(kind.decode(), pydantic_core.from_json(text))
                self.events += 1
                read = end
            if read < len(block):
                end = behind_next(block, read)
                for event in stream.parsed(block[read:end]):
                    if not self._add(event):
                        break
                read = end
        return stream.over

    def _add(self, event: dict[str, Any]) -> bool:
        """Whether it is a part of an answer."""
        self.events += 1
        try:
            self._assembler.add(event)
        except MalformedChunk:
            self._stream.fail(f"The backend {self._backend!r} sent what is no part of an answer.")
            return False
        if ("usage" in event or "timings" in event) and (counts := token_counts(event)):
            if self._choices > 1:
                counts = token_counts({"usage": self._assembler.usage()}) or counts
            self.prompt_tokens, self.completion_tokens = counts
        return True

    def result(self) -> dict[str, Any]:
        """The answer, once the backend's stream has ended.

        Raises:
            GatewayError: the stream did not end in success.
        """
        self._stream.close(finished=self._assembler.finished)
        return self._assembler.result()
