"""Reads a streamed answer whose caller wants it whole; what is passed on as a stream goes through `guard`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .assemble import ChatAssembler, error_of
from .errors import BackendFailed
from .guard import token_counts
from .json_text import from_backend
from .sse import DONE, EventSplitter, EventTooLong, is_done, iter_events
from .upstream import stream_failure


class ChatReader:
    """Takes in the bytes of one chat's stream, and knows whether it ended well.

    Each event is parsed once: where a guard and an assembler both look at it, that is a tenth of a short request
    (measured).

    Args:
        backend: its name, for messages.
        choices: how many finish reasons make the answer whole.

    Attributes:
        over: nothing more is to be read: the stream's own end came.
        prompt_tokens: as the stream told, or None.
        completion_tokens: as the stream told, or None.
    """

    def __init__(self, backend: str, choices: int = 1) -> None:
        self._backend = backend
        self._splitter = EventSplitter()
        self._assembler = ChatAssembler(choices=choices)
        self.over = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None

    def feed(self, chunk: bytes) -> int:
        """Take in what came; how many events that was.

        Raises:
            GatewayError: the backend reports a failure, or sends what is no part of an answer.
        """
        count = 0
        try:
            for event in iter_events(self._splitter.feed(chunk)):
                if event.data is None:
                    continue
                if is_done(event):
                    self.over = True
                    break
                count += 1
                self._take(from_backend(event.data))
        except EventTooLong:
            raise BackendFailed(f"The backend {self._backend!r} sent an event that is too large.") from None
        except (ValueError, RecursionError):
            raise BackendFailed(f"The backend {self._backend!r} sent what is no part of an answer.") from None
        return count

    def _take(self, chunk: Any) -> None:
        if not isinstance(chunk, Mapping):
            raise BackendFailed(f"The backend {self._backend!r} sent an event that is not an object.")
        if (error := error_of(chunk)) is not None:
            raise stream_failure(error, self._backend)
        self._assembler.add(chunk)
        if counts := token_counts(chunk):
            self.prompt_tokens, self.completion_tokens = counts

    def result(self) -> dict[str, Any]:
        """The answer, once the upstream has ended.

        Raises:
            BackendFailed: the stream did not end in success.
        """
        # Some servers leave out the empty line behind their last event.
        pending = b"" if self.over else self._splitter.pending.strip()
        if not self._assembler.finished or pending not in {b"", DONE.strip()}:
            raise BackendFailed(f"The backend {self._backend!r} ended the stream before the answer was finished.")
        return self._assembler.result()
