"""Short answers: posted where an alias is answered, and read whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ..backends.base import Lease
from ..catalog.alias import Alias
from ..wire.errors import RejectedByBackend
from ..wire.json_text import forwarded
from ..wire.refusals import document_refusal, parse_document, renamed
from .gateway import Gateway
from .lease import TimedLease, leased_anew
from .off_loop import off_loop

T = TypeVar("T")

#: Of a server that is asked about itself.
_ANSWER_SECONDS = 5.0


async def with_lease(
    gateway: Gateway, alias: Alias, work: Callable[[Lease], Awaitable[T]], keep_alive: float | None = None
) -> T:
    """What `work` makes of a lease; of another, where the first one's engine has died unnoticed.

    `work` may run twice; `keep_alive` is in seconds, in place of the alias's.

    Raises:
        GatewayError: no lease, or whatever `work` raises.
    """
    backend = gateway.backends[alias.target.backend]

    @leased_anew
    async def attempt() -> T:
        async with TimedLease(backend, alias, keep_alive) as lease:
            return await work(lease)

    return await attempt()


async def leased_document(
    gateway: Gateway,
    alias: Alias,
    path: str,
    body: Mapping[str, Any],
    *,
    size: int,
    field: str,
    feature: str,
    names: Mapping[str, str] | None = None,
    keep_alive: float | None = None,
) -> dict[str, Any]:
    """The JSON object that `path` answers, with `body` and the model's name there.

    For what the engine answers at once; a generation goes through `relay`, where it can be stopped. The one exception
    is a chat that the engine does not stream (`repair.must_not_stream`).

    `size` is that of the caller's request, as in `off_loop`. Its `field` is named for what the engine finds too long
    or unknown; `feature` is what is asked for, as in "embeddings"; `names` is what other fields of a chat are called
    there. `keep_alive` is in seconds, in place of the alias's.

    Raises:
        GatewayError: no lease; or the server refused, failed, lacks the route, or answered no JSON object.
    """
    backend = alias.target.backend
    try:
        return await with_lease(
            gateway,
            alias,
            lambda lease: document_at(gateway, lease, backend, path, body, size=size, field=field, feature=feature),
            keep_alive,
        )
    except RejectedByBackend as error:
        raise renamed(error, names or {}) from None


async def leased_answer(gateway: Gateway, alias: Alias, path: str, *, feature: str) -> dict[str, Any]:
    """The JSON object that is to be got at `path`, from where the alias is answered.

    Raises:
        GatewayError: no lease; or the server refused, failed, lacks the route, or answered no JSON object.
    """
    backend = alias.target.backend

    async def ask(lease: Lease) -> dict[str, Any]:
        async with gateway.upstream.get(lease.address, path, backend=backend, timeout=_ANSWER_SECONDS) as answer:
            content = await answer.read()
        if answer.status >= 400:
            raise document_refusal(answer.status, content, backend, answer.retry_after, field="model", feature=feature)
        return parse_document(content, backend)

    return await with_lease(gateway, alias, ask)


async def document_at(
    gateway: Gateway,
    lease: Lease,
    backend: str,
    path: str,
    body: Mapping[str, Any],
    *,
    size: int,
    field: str,
    feature: str,
) -> dict[str, Any]:
    """The same from a server that is leased already.

    Raises:
        GatewayError: the server refused, failed, lacks the route, or answered no JSON object.
    """
    payload = await off_loop(size, lambda: forwarded({**body, "model": lease.model}))
    async with gateway.upstream.post(lease.address, path, payload, backend=backend) as answer:
        content = await answer.read()
    if answer.status >= 400:
        raise document_refusal(answer.status, content, backend, answer.retry_after, field=field, feature=feature)
    return parse_document(content, backend)
