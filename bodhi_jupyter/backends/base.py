"""What every backend can do, and the lease that keeps an address alive while it is used."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..catalog.alias import Alias


@dataclass(frozen=True)
class Address:
    """Where an OpenAI-compatible server answers, and what opens it. Never shown to a caller.

    Attributes:
        url: the base without a trailing slash and without ``/v1``.
        headers: what to send with each request, the server's own key for instance.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Lease(NamedTuple):
    """An address that stays alive, and is counted, until the lease is released.

    Attributes:
        address: where to send the request.
        model: the name under which that server knows the model.
        tells_tokens: its streams end with the counts of their tokens, also where nobody asks, as llama.cpp's do.
        takes_stream_options: it can be asked for these counts; others refuse a field that they do not know.
    """

    address: Address
    model: str
    tells_tokens: bool = True
    takes_stream_options: bool = True


@dataclass(frozen=True)
class Slots:
    """Requests that a server answers at the same time, and how many it answers now."""

    total: int
    busy: int


@dataclass(frozen=True)
class Health:
    """What a person needs to know of a backend.

    Attributes:
        ok: it answers, or would when asked.
        detail: one plain sentence: the state, or what to do.
        latency: seconds it took to say so, None where nothing had to be asked.
        slots: None where it does not tell.
    """

    ok: bool
    detail: str
    latency: float | None = None
    slots: Slots | None = None


class Backend(Protocol):
    """A place where models run."""

    @property
    def name(self) -> str:
        """Unique among the backends; aliases' targets carry it."""

    def lease(self, alias: Alias, keep_alive: float | None = None) -> AbstractAsyncContextManager[Lease]:
        """An address that serves the alias for as long as the context is open.

        Args:
            alias: one whose target names this backend.
            keep_alive: seconds that its model is to stay loaded afterwards, in place of the alias's own, where we
                load it.

        Raises:
            BackendError: on entering, when the model cannot be served.
            Busy: on entering, when the queue is full.
        """

    def note_refused_stream_options(self, model: str) -> None:
        """Remember for the leases to come that `model`, as a lease names it, cannot be asked for its counts."""

    async def health(self) -> Health:
        """Whether it works, in a sentence; never raises."""

    async def close(self) -> None:
        """Give everything back; idempotent."""
