"""What tests of limits ask, and what is left then."""

from typing import Any

import httpx

from tests.fakes.bodies import HELLO

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "fake-model", "messages": [HELLO]}


async def remaining(client: httpx.AsyncClient, what: str) -> int:
    """What is left before one more request, which counts one itself."""
    response = await client.post(PATH, json=BODY)
    left = int(response.headers[f"x-ratelimit-remaining-{what}"])
    return left + 1 if what == "requests" else left
