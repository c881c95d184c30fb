"""Short answers: posted where an alias is answered, and read whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..catalog.alias import Alias
from ..wire.errors import BackendUnreachable
from ..wire.json_text import forwarded
from ..wire.refusals import document_refusal, parse_document
from .gateway import Gateway
from .lease import timed_lease


async def leased_document(
    gateway: Gateway, alias: Alias, path: str, body: Mapping[str, Any], *, field: str, feature: str
) -> dict[str, Any]:
    """The JSON object that `path` answers, with `body` and the model's name there.

    For what the engine answers at once; a generation goes through `relay`, where it can be stopped. As there, an
    engine that died unnoticed is leased once more.

    `field` of the caller's request is named for what the engine finds too long or unknown; `feature` is what is
    asked for, as in "embeddings".

    Raises:
        GatewayError: no lease; or the server refused, failed, lacks the route, or answered no JSON object.
    """
    try:
        return await _document(gateway, alias, path, body, field=field, feature=feature)
    except BackendUnreachable:
        return await _document(gateway, alias, path, body, field=field, feature=feature)


async def _document(
    gateway: Gateway, alias: Alias, path: str, body: Mapping[str, Any], *, field: str, feature: str
) -> dict[str, Any]:
    backend = gateway.backends[alias.target.backend]
    async with timed_lease(backend, alias) as lease:
        payload = forwarded({**body, "model": lease.model})
        async with gateway.upstream.post(lease.address, path, payload, backend=backend.name) as answer:
            content = await answer.read()
    if answer.status >= 400:
        raise document_refusal(answer.status, content, backend.name, field=field, feature=feature)
    return parse_document(content, backend.name)
