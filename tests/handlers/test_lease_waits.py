"""Which waits for a model are noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.backends.base import Address, Lease
from bodhi_jupyter.catalog.alias import Alias, LocalTarget, RemoteTarget, Target
from bodhi_jupyter.catalog.discovery import ModelFile
from bodhi_jupyter.handlers.lease import TimedLease
from bodhi_jupyter.wire.record import CURRENT, RequestRecord

LOCAL = LocalTarget(ModelFile("m", Path("m.gguf"), 1, 0, None, None, None, (Path("m.gguf"),)))


class Leasing:
    """A backend that has an address at once."""

    @asynccontextmanager
    async def lease(self, alias: Alias, keep_alive: float | None = None) -> AsyncIterator[Lease]:
        yield Lease(Address("http://127.0.0.1:1"), alias.name)


@pytest.fixture
def record() -> Iterator[RequestRecord]:
    record = RequestRecord("req_0", "POST /v1/chat/completions")
    token = CURRENT.set(record)
    yield record
    CURRENT.reset(token)


@pytest.mark.parametrize(("target", "is_noted"), [(LOCAL, True), (RemoteTarget("gpu-box", "m"), False)])
async def test_it_is_noted_where_a_model_may_have_to_be_loaded(record: RequestRecord, target: Target, is_noted) -> None:
    backend: Any = Leasing()
    noted = [record.lease_seconds]
    for _ in range(2):
        async with TimedLease(backend, Alias("tutor", target, 0, "test")) as lease:
            assert lease.model == "tutor"
        noted.append(record.lease_seconds)
    if is_noted:
        first, second = noted[1:]
        assert 0 < first < second
    else:
        assert noted == [None] * 3
