"""What the dialects share that the engine speaks itself: its own route, its own refusals, its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from ..backends.launch import Settings
from ..backends.transport import BackendAnswer
from ..catalog.alias import Alias, LocalTarget
from ..wire.errors import GatewayError
from ..wire.refusals import about, renamed
from .base import GatewayHandler
from .gateway import Gateway
from .off_loop import off_loop
from .relay import BodyMaker, leased_stream

Request = TypeVar("Request")


@asynccontextmanager
async def native_stream(
    gateway: Gateway,
    alias: Alias,
    path: str,
    body: BodyMaker,
    *,
    names: Mapping[str, str],
    feature: str,
    keep_alive: float | None = None,
) -> AsyncIterator[BackendAnswer]:
    """`relay.leased_stream`, its refusals in the words of the endpoint.

    `names` are the caller's for a chat's fields, ``messages`` above all; `feature` is what is asked for, as in
    "Anthropic's Messages API"; `keep_alive` is in seconds, in place of the alias's.

    Raises:
        NotSupported: the backend has no such route.
        GatewayError: as `relay.leased_stream`.
    """
    stream = leased_stream(gateway, alias, path, body, keep_alive)
    del body  # what was asked may go, while the answer comes
    try:
        async with stream as answer:
            yield answer
    except GatewayError as error:
        raise renamed(about(error, field=names["messages"], feature=feature), names) from None


def native_body(
    outgoing: Callable[[bytes, Request, Alias, str], bytes], body: bytes, request: Request, alias: Alias
) -> BodyMaker:
    """What `outgoing` makes of the caller's body and the checked request, for the model's name where they are sent.

    No function of the caller's own: what that held would stay until the request is over.
    """
    return lambda lease: off_loop(len(body), outgoing, body, request, alias, lease.model)


async def context_tokens(handler: GatewayHandler, alias: Alias) -> int | None:
    """Tokens that prompt and answer of one request may have together; None where that is not known."""
    target = handler.gateway.pool.as_held(alias).target
    if isinstance(target, LocalTarget):
        metadata = await handler.gateway.details.read(target.file)
        return Settings.of(target.context).context_per_request(metadata.context_length) if metadata else None
    known = alias.meta.get("n_ctx")
    return known if isinstance(known, int) else None
