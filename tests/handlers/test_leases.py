"""One lease for all that a request asks, and a second one only where the first one's engine is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from bodhi_jupyter.backends.base import Address, Lease
from bodhi_jupyter.catalog.alias import Alias, RemoteTarget
from bodhi_jupyter.handlers.relay import leased_stream
from bodhi_jupyter.handlers.short_answers import leased_answer, leased_document
from bodhi_jupyter.wire.errors import BackendDied, BackendError, BackendUnreachable, EngineGone
from tests.fakes import behaviours as behave

ALIAS = Alias("m", RemoteTarget("box", "m"), 0, "test")
WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "a stream": lambda gateway: leased_stream(gateway, ALIAS, "/x", lambda _lease: b"{}").__aenter__(),
    "a document": lambda gateway: leased_document(gateway, ALIAS, "/x", {}, size=0, field="x", feature="x"),
    "an answer": lambda gateway: leased_answer(gateway, ALIAS, "/x", feature="x"),
}


class Box:
    """A backend, and the connections to it, none of which can be made."""

    name = "box"

    def __init__(self, error: type[BackendError]) -> None:
        self.error = error
        self.leases = 0

    def lease(self, _alias: Alias, _keep_alive: float | None = None) -> AbstractAsyncContextManager[Lease]:
        self.leases += 1
        return nullcontext(Lease(Address("http://127.0.0.1:1"), "m"))

    def post(self, *_: Any, **__: Any) -> Any:
        raise self.error(f"attempt {self.leases}")

    get = post


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("error", "leases"), [(EngineGone, 2), (BackendUnreachable, 1), (BackendDied, 1)])
async def test_it_is_taken_only_where_that_may_help(way, error, leases) -> None:
    box = Box(error)
    with pytest.raises(error, match=f"attempt {leases}") as caught:
        await way(SimpleNamespace(backends={"box": box}, upstream=box))
    assert box.leases == leases
    assert caught.value.__context__ is None


END = {"tokens_evaluated": 2, "tokens_predicted": 1, "stop_type": "limit"}
GAP = [behave.event({"content": "x", "stop": False}), behave.event({"content": "", "stop": True, **END})]
CHOICE = {"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}
FINE = [behave.event({"choices": [CHOICE], "id": "c", "created": 1, "model": "m"}), behave.DONE]


def vectors(count: int) -> behave.Behaviour:
    return behave.status(200, {"data": [{"index": index, "embedding": [1.0, 0.0]} for index in range(count)]})


#: Path, body, what the server is asked for in this order, and how it answers.
REQUESTS: dict[str, tuple[str, dict[str, Any], list[tuple[str, behave.Behaviour]]]] = {
    "embeddings in batches": (
        "/v1/embeddings",
        {"input": ["a hill"] * 130},
        [("/v1/embeddings", vectors(count)) for count in (64, 64, 2)],
    ),
    "Ollama's embeddings in batches": (
        "/api/embed",
        {"input": ["a hill"] * 130},
        [("/v1/embeddings", vectors(count)) for count in (64, 64, 2)],
    ),
    "the echo of tokens": (
        "/v1/completions",
        {"prompt": [1, 2], "echo": True},
        [("/detokenize", behave.status(200, {"content": "ab"})), ("/v1/completions", behave.stream(FINE))],
    ),
    "a text in the middle": (
        "/v1/completions",
        {"prompt": "a", "suffix": "b"},
        [("/infill", behave.status(200, {"prompt": "a b"})), ("/infill", behave.stream(GAP))],
    ),
}


@pytest.mark.parametrize(("path", "body", "asked"), REQUESTS.values(), ids=REQUESTS)
async def test_one_is_held_for_the_whole_request(client, fake, extension, monkeypatch, path, body, asked) -> None:
    backend = extension.gateway.backends["backend"]
    lease, leases = backend.lease, []

    def counted(alias: Alias, keep_alive: float | None = None) -> AbstractAsyncContextManager[Lease]:
        leases.append(alias.name)
        return lease(alias, keep_alive)

    monkeypatch.setattr(backend, "lease", counted)
    await client.get("/v1/models")
    fake.script = [behaviour for _, behaviour in asked]
    response = await client.post(path, json={"model": "fake-model", **body})
    assert response.status_code == 200, response.text
    assert [one.path for one in fake.requests if one.method == "POST"] == [path for path, _ in asked]
    assert leases == ["fake-model"]
