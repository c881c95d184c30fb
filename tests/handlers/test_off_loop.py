"""Large bodies are read, checked and written in threads: meanwhile the event loop turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pydantic_core
import pytest
from pydantic import BaseModel

from bodhi_jupyter.handlers.off_loop import LARGE_BODY_BYTES, off_loop
from bodhi_jupyter.wire import json_text
from tests.fakes import behaviours as behave

TEXT = "x" * (LARGE_BODY_BYTES + 1)
CHAT = {"messages": [{"role": "user", "content": TEXT}]}
HELLO = {"messages": [{"role": "user", "content": "hello"}]}
#: Each route with what makes its body large.
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**CHAT, "temperature": 0},
    "/v1/chat/completions/input_tokens": CHAT,
    "/v1/completions": {"prompt": TEXT, "max_tokens": 1},
    "/v1/responses": {"input": TEXT, "max_output_tokens": 16},
    "/v1/responses/input_tokens": {"input": TEXT},
    "/v1/embeddings": {"input": TEXT},
    "/v1/rerank": {"query": "x", "documents": [TEXT]},
    "/v1/messages": {**CHAT, "max_tokens": 1},
    "/v1/messages/count_tokens": CHAT,
    "/api/chat": CHAT,
    "/api/generate": {"prompt": TEXT},
    "/api/embed": {"input": TEXT},
}


@pytest.fixture
def bodhi_config(backend_url: str) -> dict[str, Any]:
    return {"backend_url": backend_url, "backend_api_key": "backend-secret", "max_body_bytes": 4 * LARGE_BODY_BYTES}


@pytest.fixture
def handled(jp_asyncio_loop, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bool]]:
    """Whether the loop turned while a large text was read and while one was written, each time that one was."""
    found: dict[str, list[bool]] = {"read": [], "written": []}

    def watched(kind: str, work: Callable[..., Any], is_large: Callable[[Any], bool]) -> Callable[..., Any]:
        def waiting(*args: Any, **keywords: Any) -> Any:
            if is_large(args[-1]):
                turned = threading.Event()
                jp_asyncio_loop.call_soon_threadsafe(turned.set)
                # On the loop nobody can set it.
                found[kind].append(threading.current_thread() is not threading.main_thread() and turned.wait(60))
            return work(*args, **keywords)

        return waiting

    def is_large_body(value: object) -> bool:
        return isinstance(value, bytes | str) and len(value) > LARGE_BODY_BYTES

    monkeypatch.setattr(pydantic_core, "from_json", watched("read", pydantic_core.from_json, is_large_body))
    validate = BaseModel.model_validate_json.__func__
    monkeypatch.setattr(BaseModel, "model_validate_json", classmethod(watched("read", validate, is_large_body)))
    encode = json_text._ENCODE_FINITE
    monkeypatch.setattr(json_text, "_ENCODE_FINITE", watched("written", encode, lambda value: TEXT in str(value)))
    return found


@pytest.mark.parametrize("route", ROUTES)
async def test_the_loop_turns_while_a_large_body_is_handled(route, client, fake, handled) -> None:
    fake.behave(behave.status(400, {"error": {"code": 400, "message": "too long"}}))
    # Under a name that the backend does not know, so that no body goes on as it came.
    response = await client.post(route, json={"model": "default", **ROUTES[route]})
    assert fake.requests[-1].method == "POST"
    assert response.status_code == 400
    assert handled["read"]
    assert handled["written"]
    assert all([*handled["read"], *handled["written"]])


async def test_also_while_the_large_arguments_of_a_call_are_checked(client, fake, handled) -> None:
    fake.behave(behave.status(400, {"error": {"code": 400, "message": "too long"}}))
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": f'{{"a": "{TEXT}"}}'}
    assert (await client.post("/v1/responses", json={"model": "default", "input": [call]})).status_code == 400
    assert len(handled["read"]) > 2  # the body twice, and the arguments
    assert all(handled["read"])


SCHEMA = {"type": "object", "properties": {"a": {"const": TEXT}}}
#: Each route that holds answers to a schema which it has not refused for what cannot be held.
HELD: dict[str, dict[str, Any]] = {
    "/v1/messages": {**HELLO, "max_tokens": 1, "tools": [{"name": "f", "input_schema": SCHEMA, "strict": True}]},
    "/api/chat": {**HELLO, "format": SCHEMA},
    "/api/generate": {"prompt": "hello", "format": SCHEMA},
}


@pytest.mark.parametrize("route", HELD)
async def test_also_while_it_is_found_out_whether_a_large_schema_can_be_held(route, client, fake, handled) -> None:
    fake.behave(behave.status(400, {"error": {"code": 400, "message": "too long"}}))
    response = await client.post(route, json={"model": "default", **HELD[route]})
    assert response.status_code == 400
    assert fake.requests[-1].method == "POST"
    assert all(handled["read"])


@pytest.mark.parametrize(("size", "is_on_loop"), [(LARGE_BODY_BYTES, True), (LARGE_BODY_BYTES + 1, False)])
async def test_a_thread_is_for_large_bodies_alone(size: int, is_on_loop: bool) -> None:
    worker = await off_loop(size, threading.current_thread)
    assert (worker is threading.current_thread()) is is_on_loop


async def test_what_the_work_raises_arrives() -> None:
    for size in (0, LARGE_BODY_BYTES + 1):
        with pytest.raises(ZeroDivisionError):
            await off_loop(size, lambda: 1 // 0)
