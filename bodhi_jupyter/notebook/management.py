"""The server's own routes, asked from a kernel: models, aliases, pulls, health, usage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from .client import Server
from .errors import RequestRefused, unreachable

#: A JSON object, as the server sent it.
Document = dict[str, Any]
#: Said where JSON was expected and something else came.
_FOREIGN = "What answers there is no Jupyter server with bodhi-jupyter, or it wants a login first."


class Management:
    """The management routes of one server, for a kernel's event loop.

    Every method raises:
        ServerUnreachable: it does not answer.
        RequestRefused: it answered with an error, whose `param` names the field; or what answers is no such server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def models(self) -> list[Document]:
        """All aliases as model objects; asking for them is not counted as use."""
        return _data(_object(await self._ask("GET", "/bodhi/v1/models")))

    async def model(self, name: str) -> Document:
        """One alias as a model object, its file read."""
        return _object(await self._ask("GET", f"/v1/models/{_path(name)}"))

    async def backends(self) -> list[Document]:
        """Each backend with its health."""
        return _data(_object(await self._ask("GET", "/bodhi/v1/backends")))

    async def aliases(self) -> Document:
        """The alias files: those that say one as ``data``, and those that are ``broken``."""
        return _object(await self._ask("GET", "/bodhi/v1/aliases"))

    async def targets(self) -> list[Document]:
        """What an alias can stand for, each by the fields of an alias that name it."""
        return _data(_object(await self._ask("GET", "/bodhi/v1/targets")))

    async def load(self, name: str) -> Document:
        """Load a local model; done when it is."""
        return _object(await self._ask("POST", f"/bodhi/v1/models/{_path(name)}/load"))

    async def unload(self, name: str) -> Document:
        """Unload a local model once nobody uses it."""
        return _object(await self._ask("POST", f"/bodhi/v1/models/{_path(name)}/unload"))

    async def stop(self, name: str) -> Document:
        """End a local model's engine at once, with the requests that it answers."""
        return _object(await self._ask("POST", f"/bodhi/v1/models/{_path(name)}/stop"))

    async def alias(self, name: str) -> tuple[Document, str]:
        """An alias file and its entity tag."""
        answer = await self._ask("GET", f"/bodhi/v1/aliases/{_path(name)}")
        return _object(answer), answer.headers.get("ETag", "")

    async def create(self, document: Mapping[str, Any]) -> Document:
        """Make an alias."""
        return _object(await self._ask("POST", "/bodhi/v1/aliases", document))

    async def replace(self, name: str, document: Mapping[str, Any], etag: str) -> Document:
        """Change an alias, unless somebody else has since `etag`."""
        headers = {"If-Match": etag} if etag else {}
        return _object(await self._ask("PUT", f"/bodhi/v1/aliases/{_path(name)}", document, headers))

    async def copy(self, name: str, new_name: str) -> Document:
        """Make an alias of what `name` stands for."""
        return _object(await self._ask("POST", f"/bodhi/v1/aliases/{_path(name)}/copy", {"alias": new_name}))

    async def delete(self, name: str) -> None:
        """Remove an alias; the model's file stays."""
        await self._ask("DELETE", f"/bodhi/v1/aliases/{_path(name)}")

    async def pull(self, name: str) -> AsyncIterator[Document]:
        """Get a model from the hub: the lines of its progress, with ``total`` and ``completed`` in bytes.

        It goes on while somebody reads them.
        """
        try:
            async with self._http().stream("POST", "/api/pull", json={"model": name}) as answer:
                if answer.status_code >= 300:
                    raise RequestRefused.of(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    document = _parsed(line)
                    if "error" in document:
                        raise RequestRefused.told(document["error"])
                    yield document
        except httpx.TransportError as error:
            raise unreachable(error, self._server.url) from None

    async def pulls(self) -> list[Document]:
        """The pulls under way and those lately finished."""
        return _data(_object(await self._ask("GET", "/bodhi/v1/pulls")))

    async def cancel_pull(self, pull_id: str) -> None:
        """Stop a pull for everybody who waits for it."""
        await self._ask("DELETE", f"/bodhi/v1/pulls/{_path(pull_id)}")

    async def get(self, path: str) -> Document:
        """What a route answers."""
        return _object(await self._ask("GET", path))

    async def _ask(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            answer = await self._http().request(method, path, json=document, headers=headers)
        except httpx.TransportError as error:
            raise unreachable(error, self._server.url) from None
        if answer.status_code >= 300:
            raise RequestRefused.of(answer.status_code, answer.content)
        return answer

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = self._server.async_http()
        return self._client


def read_document(server: Server, path: str, *, also: int = 200) -> Document:
    """What a route answers, waited for.

    Args:
        server: who is asked.
        path: below its base.
        also: a status that is an answer too, and no refusal.

    Raises:
        ServerUnreachable: it does not answer.
        RequestRefused: it answered with an error, or what answers is no such server.
    """
    try:
        with server.http() as client:
            answer = client.get(path)
    except httpx.TransportError as error:
        raise unreachable(error, server.url) from None
    if answer.status_code >= 300 and answer.status_code != also:
        raise RequestRefused.of(answer.status_code, answer.content)
    return _object(answer)


def read_data(server: Server, path: str) -> list[Document]:
    """The items of a list that a route answers, waited for; raises as `read_document` does."""
    return _data(read_document(server, path))


def _path(name: str) -> str:
    return quote(name, safe="")


def _object(answer: httpx.Response) -> Document:
    return _parsed(answer.content)


def _parsed(text: bytes | str) -> Document:
    try:
        document = json.loads(text)
    except ValueError:
        raise RequestRefused(_FOREIGN) from None
    if not isinstance(document, dict):
        raise RequestRefused(_FOREIGN)
    return document


def _data(document: Document) -> list[Document]:
    data = document.get("data")
    if not isinstance(data, list):
        raise RequestRefused(_FOREIGN)
    return data
