"""An answer of a model, as a notebook holds it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .rows import speed_text
from .screen import Bundle, bundle_of

#: Answers that the plots look back on.
_REMEMBERED = 200
#: Writing that is faster than this came in one piece, and tells nothing of the model's speed.
_SHORTEST_SECONDS = 0.02


@dataclass(frozen=True)
class Speed:
    """How fast an answer came.

    Attributes:
        model: who answered.
        tokens: written by the model.
        seconds: from the question to the end.
        first_token_seconds: from the question to the first piece of text; None where there was none.
        tokens_per_second: while the model was writing; None for an answer that came too fast to tell.
    """

    model: str
    tokens: int
    seconds: float
    first_token_seconds: float | None = None
    tokens_per_second: float | None = None

    @classmethod
    def timed(cls, model: str, tokens: int, seconds: float, first_token_seconds: float | None = None) -> Speed:
        """Of an answer whose pieces were timed here."""
        writing = seconds - (first_token_seconds or 0.0)
        speed = (tokens - 1) / writing if tokens > 1 and writing > _SHORTEST_SECONDS else None
        return cls(model, tokens, seconds, first_token_seconds, speed)


@dataclass(repr=False)
class Answer:
    """What a model said; `str` of it is the text.

    Attributes:
        text: the answer.
        reasoning: what the model thought before it, where it tells that apart.
        messages: the conversation up to the question, without a system prompt that the alias adds.
        model: who answered.
        tool_calls: what the model wants to have called, as OpenAI writes calls; the answers to them go behind
            `conversation`, as messages of the role ``tool``.
        finish_reason: ``stop``, ``length``, ``tool_calls``; "" while it grows, and where it broke off.
        prompt_tokens: tokens read, as the engine counts them.
        completion_tokens: tokens written, likewise.
        speed: None until it is complete.
    """

    text: str = ""
    reasoning: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    speed: Speed | None = None
    #: The cell in which it was shown while it grew: as that cell's result it needs no second display.
    shown_in: int | None = None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        start = self.text if len(self.text) <= 60 else f"{self.text[:59]}…"
        return f"Answer({start!r})"

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The messages with this answer at their end, to ask on from."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return [*self.messages, message]

    def note(self) -> str:
        """One line on who answered and how fast."""
        parts = [self.model]
        if self.speed is not None:
            parts.append(f"{self.speed.tokens:,} tokens")
            if self.speed.tokens_per_second is not None:
                parts.append(f"{speed_text(self.speed.tokens_per_second)} tokens/s")
            if self.speed.first_token_seconds is not None:
                parts.append(f"first after {self.speed.first_token_seconds:.2f} s")
        if self.tool_calls:
            parts.append(f"calls {', '.join(call['function']['name'] for call in self.tool_calls)}")
        if self.finish_reason == "length":
            parts.append("cut at the token limit")
        return " · ".join(part for part in parts if part)

    def bundle(self) -> Bundle:
        """The answer as a front end shows it: text, and HTML that is safe."""
        return bundle_of(self.text, self.reasoning, self.note())

    def _ipython_display_(self) -> None:
        """IPython's hook, in place of a representation: nothing where the answer stands already."""
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        shell = get_ipython()
        shown_in, self.shown_in = self.shown_in, None
        if shell is not None and shown_in == shell.execution_count:
            return
        display(self.bundle(), raw=True)


class SpeedLog:
    """How fast the last answers came, for whoever wants to be told of new ones."""

    def __init__(self) -> None:
        self.entries: deque[Speed] = deque(maxlen=_REMEMBERED)
        self._listeners: list[Callable[[], None]] = []

    def add(self, speed: Speed) -> None:
        """Note an answer."""
        self.entries.append(speed)
        for listener in list(self._listeners):
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call it after each new answer."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)


#: Of this kernel: of `chat`, ``%%chat`` and the panel.
speeds = SpeedLog()
