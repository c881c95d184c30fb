"""What goes out to a server behind TLS, where httpx's interface stands in between."""

from __future__ import annotations

import httpx
import pytest

from bodhi_jupyter.backends.base import Address
from bodhi_jupyter.backends.sending import SLICE_BYTES
from bodhi_jupyter.backends.transport import Upstream

ADDRESS = Address("https://user:password@model.example/base", {"x-key": "secret"})


@pytest.mark.parametrize("body", [b'{"a":1}', b"x" * (2 * SLICE_BYTES + 1)])
async def test_a_post_over_tls_goes_out_whole(body) -> None:
    asked: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        asked.append(request)
        return httpx.Response(201, json={"b": 2}, headers={"Retry-After": "40"})

    upstream = Upstream()
    transports = await upstream.warm_up()
    transports._tls = httpx.MockTransport(answer)
    async with upstream.post(ADDRESS, "/v1/x", body, backend="far") as got:
        assert (got.status, got.content_type, await got.read()) == (201, "application/json", b'{"b":2}')
    async with upstream.get(ADDRESS, "/v1/y", backend="far") as got:
        assert (got.status, got.retry_after) == (201, 40)
    await upstream.close()
    post, get = asked
    assert (post.method, post.url.path, post.content) == ("POST", "/base/v1/x", body)
    assert post.headers["content-length"] == str(len(body))
    assert (post.headers["x-key"], post.headers["authorization"]) == ("secret", "Basic dXNlcjpwYXNzd29yZA==")
    assert (get.method, get.content, "content-length" in get.headers) == ("GET", b"", False)
