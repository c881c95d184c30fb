"""A kernel of a server with models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.kernel import Kernel
from tests.live.server import LiveServer


@pytest.fixture
def kernel(stocked_server: LiveServer) -> Iterator[Kernel]:
    with Kernel(stocked_server) as running:
        yield running
