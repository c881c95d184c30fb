"""Places, and who gets the next one."""

from __future__ import annotations

import asyncio

import pytest

from bodhi_jupyter.access.admission import AdmissionQueue
from bodhi_jupyter.wire.errors import Busy


def queue(most: int = 1, max_waiting: int = 8, timeout: float = 60.0) -> AdmissionQueue:
    return AdmissionQueue(most, max_waiting, timeout)


async def enters(admission: AdmissionQueue) -> asyncio.Task[float]:
    task = asyncio.create_task(admission.enter())
    await asyncio.sleep(0)
    return task


async def has_place(admission: AdmissionQueue) -> bool:
    """Whether a newcomer would not have to wait."""
    task = await enters(admission)
    if task.done():
        admission.leave()
        return True
    task.cancel()
    await asyncio.wait([task])
    return False


async def test_up_to_the_number_nobody_waits() -> None:
    admission = queue(most=3)
    assert [await admission.enter() for _ in range(3)] == [0.0] * 3
    assert not await has_place(admission)


async def test_newcomers_are_let_in_in_order() -> None:
    admission = queue()
    await admission.enter()
    tasks = [await enters(admission) for _ in range(3)]
    for number, task in enumerate(tasks):
        admission.leave()
        assert await task >= 0.0
        assert [one.done() for one in tasks] == [index <= number for index in range(3)]
    admission.leave()
    assert admission.waiting == 0
    assert await has_place(admission)


async def test_nobody_overtakes_those_who_wait() -> None:
    admission = queue()
    await admission.enter()
    first = await enters(admission)
    admission.leave()
    # The place is the first one's, though it has not run yet.
    second = await enters(admission)
    await first
    assert not second.done()
    admission.leave()
    await second


async def test_too_many_are_refused_at_once() -> None:
    admission = queue(max_waiting=2)
    await admission.enter()
    tasks = [await enters(admission) for _ in range(2)]
    with pytest.raises(Busy) as caught:
        await admission.enter()
    assert caught.value.retry_after is not None
    for task in tasks:
        task.cancel()


async def test_a_wait_that_is_too_long_ends() -> None:
    admission = queue(timeout=0.01)
    await admission.enter()
    with pytest.raises(Busy):
        await admission.enter()
    assert admission.waiting == 0
    assert not await has_place(admission)
    admission.leave()
    assert await admission.enter() == 0.0


@pytest.mark.parametrize("granted_meanwhile", [False, True])
async def test_who_leaves_while_waiting_holds_nothing(granted_meanwhile) -> None:
    admission = queue()
    await admission.enter()
    task = await enters(admission)
    if granted_meanwhile:
        admission.leave()
    task.cancel()
    await asyncio.wait([task])
    assert admission.waiting == 0
    assert await has_place(admission) is granted_meanwhile


async def test_a_place_skips_those_who_left() -> None:
    admission = queue()
    await admission.enter()
    gone, stays = await enters(admission), await enters(admission)
    gone.cancel()
    await asyncio.wait([gone])
    admission.leave()
    await stays
    assert not await has_place(admission)
    admission.leave()
    assert await has_place(admission)
