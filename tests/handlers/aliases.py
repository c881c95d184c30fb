"""The alias files over HTTP, and chats with what they name."""

from typing import Any
from urllib.parse import quote

import httpx

PATH = "/bodhi/v1/aliases"
CHAT = "/v1/chat/completions"


def url(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


async def create(client: httpx.AsyncClient, name: str, path: str = "found.gguf", **fields: Any) -> httpx.Response:
    response = await client.post(PATH, json={"alias": name, "path": path, **fields})
    assert response.status_code == 201, response.text
    return response


async def names(client: httpx.AsyncClient) -> list[str]:
    return [entry["alias"] for entry in (await client.get(PATH)).json()["data"]]


async def models(client: httpx.AsyncClient) -> list[str]:
    return [entry["id"] for entry in (await client.get("/v1/models?refresh=true")).json()["data"]]


async def chat(client: httpx.AsyncClient, name: str, **more: Any) -> dict[str, Any]:
    body = {"model": name, "messages": [{"role": "user", "content": "tell me"}], **more}
    response = await client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def text(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]
