"""When a catalog asks its sources, what it keeps of their answers, and what it does with those that fail."""

import asyncio

import pytest

from bodhi_jupyter.catalog.alias import Alias
from bodhi_jupyter.catalog.catalog import Catalog
from bodhi_jupyter.wire.errors import BackendUnavailable
from tests.catalog.listing import Source, names, run


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_list_is_kept_then_used_while_it_is_asked_for_again() -> None:
    async def test() -> None:
        source, clock = Source("a", "one"), Clock()
        catalog = Catalog([source], clock=clock)
        await catalog.aliases()
        await catalog.aliases()
        assert source.asked == 1
        source.models.append("two")
        clock.now += 6
        assert names(await catalog.aliases()) == ["one"]
        await settle()
        assert names(await catalog.aliases()) == ["one", "two"]
        assert source.asked == 2

    run(test)


def test_refresh_asks_now_even_while_an_older_question_is_under_way() -> None:
    async def test() -> None:
        source, clock = Source("a", "one"), Clock()
        catalog = Catalog([source], clock=clock)
        await catalog.aliases()
        clock.now += 6
        source.gate = asyncio.Event()
        await catalog.aliases()  # asks in the background, before there is a second model
        await settle()
        source.models.append("two")
        refreshing = asyncio.create_task(catalog.refresh())
        await settle()
        source.gate.set()
        assert names(await refreshing) == ["one", "two"]

    run(test)


def test_many_who_ask_at_once_ask_each_source_once() -> None:
    async def test() -> None:
        source = Source("a", "one")
        catalog = Catalog([source])
        await asyncio.gather(*(catalog.resolve("one") for _ in range(50)))
        assert source.asked == 1

    run(test)


def test_an_unknown_name_is_looked_for_anew_before_it_is_refused() -> None:
    async def test() -> None:
        source = Source("a", "one")
        catalog = Catalog([source])
        await catalog.aliases()
        source.models.append("fresh")
        assert (await catalog.resolve("fresh")).name == "fresh"

    run(test)


def test_a_source_that_fails_keeps_what_it_said_marked_as_stale() -> None:
    async def test() -> None:
        source, other, clock = Source("a", "one"), Source("b", "two"), Clock()
        catalog = Catalog([source, other], clock=clock)
        await catalog.aliases()
        source.down = True
        found = {alias.name: alias.stale for alias in await catalog.refresh()}
        assert found == {"one": True, "two": False}
        assert (await catalog.resolve("one")).name == "one"
        with pytest.raises(BackendUnavailable, match="'a' cannot be asked"):
            await catalog.resolve("three")
        source.down = False
        assert {alias.stale for alias in await catalog.refresh()} == {False}

    run(test)


def test_the_default_is_not_answered_by_a_model_of_another_source() -> None:
    async def test() -> None:
        source = Source("gpu", "big")
        source.down = True
        catalog = Catalog([source, Source("box", "guide")])
        with pytest.raises(BackendUnavailable):
            await catalog.resolve("default")
        assert names(await catalog.aliases()) == ["guide"]

    run(test)


def test_a_source_that_never_answered_is_waited_for_once_and_not_each_time() -> None:
    async def test() -> None:
        source, clock = Source("gpu", "big"), Clock()
        source.down = True
        catalog = Catalog([source, Source("box", "guide")], clock=clock)
        await catalog.aliases()
        clock.now += 6
        source.gate = asyncio.Event()
        assert names(await catalog.aliases()) == ["guide"]
        await catalog.close()

    run(test)


def test_a_source_with_a_defect_does_not_take_the_others_down(caplog: pytest.LogCaptureFixture) -> None:
    class Defective(Source):
        async def aliases(self) -> list[Alias]:
            raise RuntimeError("a bug")

    async def test() -> None:
        catalog = Catalog([Defective("bad"), Source("good", "one")])
        assert names(await catalog.aliases()) == ["one"]
        assert "a bug" in caplog.text

    run(test)


def test_a_caller_that_leaves_does_not_stop_the_question_for_the_others() -> None:
    async def test() -> None:
        source = Source("a", "one")
        source.gate = asyncio.Event()
        catalog = Catalog([source])
        leaving, staying = (asyncio.create_task(catalog.resolve("one")) for _ in range(2))
        await settle()
        leaving.cancel()
        await settle()
        source.gate.set()
        assert (await staying).name == "one"
        assert source.asked == 1

    run(test)
