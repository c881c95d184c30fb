"""What goes on to its end although nobody waits for it any more."""

import asyncio

import pytest

from bodhi_jupyter.handlers.undivided import undivided
from bodhi_jupyter.wire.errors import GatewayError, InternalError


class Work:
    """Two steps, the second when it is told so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.is_done = False
        self._error = error

    async def do(self) -> str:
        self.begun.set()
        await self.may_go_on.wait()
        self.is_done = True
        if self._error is not None:
            raise self._error
        return "done"


async def test_it_gives_what_the_work_gives() -> None:
    work = Work()
    work.may_go_on.set()
    assert await undivided(work.do()) == "done"


async def test_it_raises_what_the_work_raises() -> None:
    work = Work(InternalError("no"))
    work.may_go_on.set()
    with pytest.raises(InternalError):
        await undivided(work.do())


@pytest.mark.parametrize(
    ("error", "raised"),
    [(None, asyncio.CancelledError), (GatewayError("no"), asyncio.CancelledError), (LookupError(), LookupError)],
)
async def test_a_request_that_is_cancelled_ends_with_the_work(
    error: Exception | None, raised: type[BaseException]
) -> None:
    work = Work(error)
    waiting = asyncio.create_task(undivided(work.do()))
    await work.begun.wait()
    waiting.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    work.may_go_on.set()
    with pytest.raises(raised):
        await waiting
    assert work.is_done
