"""A chat that the engine does not stream, relayed as if it had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...backends.base import Lease
from ...catalog.alias import Alias
from ...wire.chunk_parts import MalformedChunk
from ...wire.disassemble import events_of
from ...wire.errors import BackendFailed
from ..gateway import Gateway
from ..short_answers import document_at, with_lease

if TYPE_CHECKING:
    from ...backends.http1 import Take

_OF_STREAMS = frozenset({"stream", "stream_options"})


def must_be_whole(body: Mapping[str, Any]) -> bool:
    """Whether the engine would refuse to stream it, as `repair.must_not_stream` has it."""
    return bool(body.get("tools")) and bool(body.get("logprobs"))


class WholeAnswer:
    """The events of a whole answer, to be read like a `BackendAnswer`."""

    def __init__(self, events: bytes) -> None:
        self._events = events

    def offer_to(self, take: Take) -> None:
        """Nothing is offered: all is there."""

    async def some(self) -> bytes:
        """All of it, then b""."""
        events, self._events = self._events, b""
        return events

    async def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """Give all of it to `take`."""
        take(await self.some())


async def whole_chat(
    gateway: Gateway,
    alias: Alias,
    path: str,
    body: Mapping[str, Any],
    *,
    size: int,
    keep_alive: float | None,
    begun: Callable[[Lease], None],
) -> WholeAnswer:
    """The answer to a chat that `must_be_whole`.

    Args:
        gateway: the server's.
        alias: whom to ask.
        path: of chats.
        body: for a stream, without the model.
        size: of the caller's body, in bytes.
        keep_alive: in seconds, in place of the alias's.
        begun: is told of the lease.

    Raises:
        GatewayError: no lease; or the server refused, failed, or answered what is no chat.
    """
    backend = alias.target.backend
    asked = {name: value for name, value in body.items() if name not in _OF_STREAMS}

    async def ask(lease: Lease) -> dict[str, Any]:
        begun(lease)
        return await document_at(gateway, lease, backend, path, asked, size=size, field="messages", feature="chats")

    try:
        return WholeAnswer(events_of(await with_lease(gateway, alias, ask, keep_alive)))
    except MalformedChunk:
        raise BackendFailed(f"The backend {backend!r} sent what is no part of an answer.") from None
