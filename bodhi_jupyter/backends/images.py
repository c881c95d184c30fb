"""Images that a request names by URL, fetched by us: an engine that fetched them would be a way into the network."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ..wire.errors import InvalidField
from .trust import trusted

if TYPE_CHECKING:
    import httpx

#: Largest image, in bytes, and how long it may take, in seconds.
MAX_BYTES = 20 * 2**20
FETCH_SECONDS = 15.0
#: Images of one request that are fetched at the same time.
AT_ONCE = 4


class NamedImage(NamedTuple):
    """An image to be fetched.

    Attributes:
        param: the request's field, for errors.
        url: http(s), of one of the hosts.
    """

    param: str
    url: str


class ImageFetcher:
    """Fetches images from the hosts that the configuration names, and from no private address behind their names.

    Args:
        hosts: host names, exactly as they stand in a URL; empty for none.
        most_bytes: of all images of one request together, as they are sent on in base64.
    """

    def __init__(self, hosts: frozenset[str], most_bytes: int) -> None:
        self.hosts = hosts
        self._most_bytes = most_bytes
        self._client: httpx.AsyncClient | None = None

    async def fetch(self, images: Sequence[NamedImage]) -> list[str]:
        """The images of one request as ``data:`` URLs; as soon as one fails, the others are left.

        Raises:
            InvalidField: one is not there, not an image, too large, too slow, moved elsewhere, or at a private
                address; or they are too large together.
        """
        await self._ready()  # its making is no image's time
        places, room = asyncio.Semaphore(AT_ONCE), _Room(self._most_bytes * 3 // 4)

        async def fetched(image: NamedImage) -> str:
            async with places:
                return await self._in_time(image, room)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetched(image)) for image in images]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _in_time(self, image: NamedImage, room: _Room) -> str:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._fetch(image, room)
        except TimeoutError:
            raise _refused(image.param, f"it took longer than {FETCH_SECONDS:g} seconds") from None

    async def _fetch(self, image: NamedImage, room: _Room) -> str:
        param, url = image
        client = await self._ready()
        import httpx

        try:
            parts, named = urlsplit(url), httpx.URL(url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme.lower() == "https" else 80)
        except (ValueError, httpx.InvalidURL):
            raise _refused(param, "its address is no URL") from None
        address = await public_address(host, port)
        if address is None:
            raise _refused(param, "its host has no public address")
        # Connected to by address, so that the name cannot mean another machine the second time it is asked for.
        request_url = named.copy_with(host=address)
        headers = {"host": named.netloc.decode(), "accept": "image/*", "accept-encoding": "identity"}
        request = client.build_request("GET", request_url, headers=headers, extensions={"sni_hostname": host})
        try:
            response = await client.send(request, stream=True)
            try:
                return await _data_url(response, param, room)
            finally:
                await response.aclose()
        except httpx.HTTPError:
            raise _refused(param, "its host does not answer") from None

    async def _ready(self) -> httpx.AsyncClient:
        """The client, made in a thread: reading the certificates would hold the event loop."""
        if self._client is None:
            made = await asyncio.to_thread(_make_client)
            self._client = self._client or made
        return self._client

    async def close(self) -> None:
        """Close every connection; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


class _Room:
    """What all images of one request have together, in bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        """Whether there is as much."""
        self._left -= size
        return self._left >= 0


def _make_client() -> httpx.AsyncClient:
    import httpx

    # No connection is kept: images come seldom, and from anywhere.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(
        verify=trusted(), trust_env=False, timeout=FETCH_SECONDS, follow_redirects=False, limits=limits
    )


async def _data_url(response: httpx.Response, param: str, room: _Room) -> str:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code != 200:
        raise _refused(param, f"its host answered with status {response.status_code}")
    if not kind.startswith("image/"):
        raise _refused(param, "what is there is not an image")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_BYTES:
            raise _refused(param, f"it is larger than {MAX_BYTES // 2**20} MiB")
        if not room.take(len(chunk)):
            raise _refused(param, "with the others it is larger than a request may be")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


async def public_address(host: str, port: int) -> str | None:
    """An address of the host that is anybody's to reach; None if any of its addresses is not."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    return addresses[0] if addresses and all(map(_is_public, addresses)) else None


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global and not parsed.is_multicast


def _refused(param: str, reason: str) -> InvalidField:
    return InvalidField(f"The image of '{param}' cannot be fetched: {reason}.", param=param, code="invalid_image_url")
