"""What the tests of getting, making, copying and deleting models share."""

import json
from typing import Any

import httpx

REPO = "org/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
NAME = f"{REPO}:Q4_K_M"


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def error(response: httpx.Response, status: int) -> str:
    """The text of an error, checked for Ollama's shape and for what must not be in it."""
    assert response.status_code == status, response.text
    (text,) = response.json().values()
    assert list(response.json()) == ["error"]
    assert isinstance(text, str)
    for internal in ("127.0.0.1", "http://", "Traceback", "/tmp"):
        assert internal not in text
    return text


async def names(client: httpx.AsyncClient) -> list[str]:
    return [entry["id"] for entry in (await client.get("/v1/models?refresh=true")).json()["data"]]


async def delete(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.request("DELETE", "/api/delete", json={"model": name})


async def chat(client: httpx.AsyncClient, name: str) -> httpx.Response:
    body = {"model": name, "messages": [{"role": "user", "content": "tell"}], "max_tokens": 3}
    return await client.post("/v1/chat/completions", json=body)


async def document(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    found = (await client.get(f"/bodhi/v1/aliases/{name}")).json()
    return {key: value for key, value in found.items() if key not in {"read_only", "modified"}}
