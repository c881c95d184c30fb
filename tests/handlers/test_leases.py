"""A second lease where the first one's engine is gone, and nowhere else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from bodhi_jupyter.backends.base import Address, Lease
from bodhi_jupyter.catalog.alias import Alias, RemoteTarget
from bodhi_jupyter.handlers.leased import leased_answer, leased_document
from bodhi_jupyter.handlers.relay import leased_stream
from bodhi_jupyter.wire.errors import BackendDied, BackendError, BackendUnreachable, EngineGone

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
