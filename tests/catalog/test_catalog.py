"""Which aliases there are together, and what a name stands for."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bodhi_jupyter.catalog.alias import Alias, LocalTarget, RemoteTarget
from bodhi_jupyter.catalog.catalog import AmbiguousName, Catalog
from bodhi_jupyter.catalog.discovery import ModelFile
from bodhi_jupyter.catalog.sources import model_at
from bodhi_jupyter.wire.errors import ModelNotFound
from tests.catalog.listing import Source, names, run


def test_the_first_source_wins_a_name_and_the_default_comes_first() -> None:
    async def test() -> None:
        mine = Source("aliases", "fast", "shared", backend="gpu")
        catalog = Catalog([mine, Source("gpu", "big", "shared"), Source("box", "guide")], defaults=["gpu", "box"])
        assert names(await catalog.aliases()) == ["big", "fast", "shared", "guide"]
        assert (await catalog.resolve("default")).name == "big"
        assert (await catalog.resolve("shared")).owned_by == "aliases"
        assert (await catalog.resolve("gpu/shared")).owned_by == "gpu"
        # By the name that is another's, something else would be deleted or unloaded; one model has one name else.
        assert (await catalog.resolve("gpu/shared")).name == "gpu/shared"
        assert (await catalog.resolve("gpu/big")).name == "big"

    run(test)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [Source("box", "llama")],  # then the server's is listed under its full name
        [Source("box", "gpu/llama")],
    ],
)
def test_a_servers_full_name_is_no_aliass(others: list[Source]) -> None:
    async def test() -> None:
        mine = Source("aliases", "gpu/llama", backend="elsewhere")
        catalog = Catalog([mine, Source("gpu", "llama"), *others])
        assert (await catalog.resolve("gpu/llama")).target == RemoteTarget("gpu", "llama")
        assert (await catalog.resolve("aliases/gpu/llama")).target == RemoteTarget("elsewhere", "gpu/llama")
        assert (await catalog.resolve("aliases/gpu/llama")).name == "aliases/gpu/llama"
        listed = {alias.name: alias.target.backend for alias in await catalog.aliases()}
        assert listed.get("gpu/llama", "gpu") == "gpu"
        assert catalog.server_with("gpu/llama") == "gpu"
        assert (catalog.server_with("aliases/gpu/llama"), catalog.server_with("llama")) == (None, None)

    run(test)


@pytest.mark.parametrize(
    ("asked", "names", "found"),
    [
        ("copy", ["other", "big"], "big"),
        ("copy", ["copy", "big"], "copy"),
        ("big", ["copy", "big"], "big"),
        ("other", ["big", "nobody"], "other"),
        ("copy", ["gpu/big"], "gpu/big"),
        ("other", [], "other"),
    ],
)
def test_a_copy_is_found_under_the_name_of_its_model(asked: str, names: list[str], found: str) -> None:
    async def test() -> None:
        mine = Source("aliases")
        mine.aliases = lambda: asyncio.sleep(0, [Alias("copy", RemoteTarget("gpu", "big"), 0, "aliases")])
        catalog = Catalog([mine, Source("gpu", "big", "other")], limited=names)
        assert catalog.limited.name_of(await catalog.resolve(asked)) == found

    run(test)


def test_a_model_is_found_under_a_name_that_another_source_hides() -> None:
    async def test() -> None:
        mine = Source("aliases")
        mine.aliases = lambda: asyncio.sleep(0, [Alias("big", RemoteTarget("gpu", "small"), 0, "aliases")])
        catalog = Catalog([mine, Source("gpu", "big", "small", "other")], limited=["big"])
        counted = {name: catalog.limited.name_of(await catalog.resolve(name)) for name in ("big", "gpu/big", "other")}
        assert counted == {"big": "big", "gpu/big": "big", "other": "other"}

    run(test)


def test_a_model_is_found_under_a_name_that_it_had() -> None:
    async def test() -> None:
        mine = Source("aliases", "big", backend="gpu")
        catalog = Catalog([mine, Source("gpu", "of another name")], limited=["big"])
        await catalog.resolve("big")
        mine.models = []
        renamed = Alias("other", RemoteTarget("gpu", "big"), 0, "aliases")
        mine.aliases = lambda: asyncio.sleep(0, [renamed])
        await catalog.refresh()
        assert catalog.limited.name_of(await catalog.resolve("other")) == "big"
        assert catalog.limited.name_of(await catalog.resolve("of another name")) == "of another name"

    run(test)


@pytest.mark.parametrize("spelling", ["sub/../big.gguf", "link.gguf", "small.gguf"])
def test_a_file_is_the_same_however_it_is_reached(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("big.gguf", "small.gguf"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.gguf").symlink_to("big.gguf")

    async def test() -> None:
        mine, files = Source("aliases"), Source("files")
        for source, name, path in ((mine, "x", tmp_path / spelling), (files, "big", tmp_path / "big.gguf")):
            found = [Alias(name, LocalTarget(model_at(name, path)), 0, source.name)]
            source.aliases = lambda found=found: asyncio.sleep(0, found)
        catalog = Catalog([mine, files], limited=["big"])
        counted = catalog.limited.name_of(await catalog.resolve("x"))
        assert counted == ("x" if spelling == "small.gguf" else "big")

    run(test)


def test_an_alias_may_stand_for_the_model_whose_full_name_it_has() -> None:
    async def test() -> None:
        aliases = [Alias("gpu/llama", RemoteTarget("gpu", "llama"), 0, "aliases")]
        mine = Source("aliases")
        mine.aliases = lambda: asyncio.sleep(0, aliases)
        catalog = Catalog([mine, Source("gpu", "llama")])
        assert (await catalog.resolve("gpu/llama")).owned_by == "aliases"

    run(test)


@pytest.mark.parametrize(
    ("sources", "default"),
    [
        ([Source("a", "m"), Source("b", "m")], "a/m"),
        ([Source("aliases", "other", "m", backend="a"), Source("a", "m")], "m"),
        ([Source("aliases", "m", backend="a"), Source("a", "m"), Source("b", "m")], "m"),
    ],
)
def test_the_default_is_what_the_list_has_under_its_name(sources: list[Source], default: str) -> None:
    async def test() -> None:
        catalog = Catalog(sources, defaults=["a"])
        found = await catalog.resolve("default")
        # An engine, limits and metrics are known by the name alone.
        assert found is await catalog.resolve(default)
        assert found is (await catalog.aliases())[0]
        assert found.name == default

    run(test)


@pytest.mark.parametrize(
    ("sources", "defaults", "default"),
    [
        ([Source("files", "m", backend="local"), Source("gpu", "m")], ["gpu"], "gpu/m"),
        ([Source("aliases", "m", backend="other"), Source("gpu", "m")], ["gpu"], "gpu/m"),
        ([Source("files", "m", backend="local"), Source("gpu", "m"), Source("b", "m")], ["gpu"], "gpu/m"),
        ([Source("aliases", "m", backend="gpu"), Source("box", "m", backend="local")], ["box"], "box/m"),
    ],
)
def test_the_default_keeps_a_name_of_its_own_where_another_model_has_its_name(
    sources: list[Source], defaults: list[str], default: str
) -> None:
    async def test() -> None:
        catalog = Catalog(sources, defaults)
        found = await catalog.resolve("default")
        assert (found.name, found.owned_by) == (default, defaults[0])
        assert found is await catalog.resolve(default)
        listed = await catalog.aliases()
        assert found is listed[0]
        assert len(set(names(listed))) == len(listed)
        # The other one keeps its name.
        taken = sources[0].models[0]
        assert (await catalog.resolve(taken)).owned_by == sources[0].name

    run(test)


def test_the_default_has_its_full_name_where_aliases_have_both_its_names() -> None:
    async def test() -> None:
        catalog = Catalog([Source("aliases", "m", "gpu/m", backend="other"), Source("gpu", "m")], ["gpu"])
        found = await catalog.resolve("default")
        assert (found.name, found.target) == ("gpu/m", RemoteTarget("gpu", "m"))
        assert found is await catalog.resolve("gpu/m")
        assert names(await catalog.aliases()) == ["gpu/m", "m"]

    run(test)


def test_the_configured_default_wins_and_comes_first() -> None:
    async def test() -> None:
        sources = [Source("gpu", "big"), Source("box", "guide")]
        catalog = Catalog(sources, ["gpu", "box"], "guide")
        assert names(await catalog.aliases()) == ["guide", "big"]
        assert (await catalog.resolve("default")).name == "guide"
        assert (await catalog.resolve("Default:latest")).name == "guide"

    run(test)


def test_the_configured_default_comes_first_however_it_is_written() -> None:
    async def test() -> None:
        catalog = Catalog([Source("gpu", "big", "x")], default_model="X:latest")
        assert names(await catalog.aliases()) == ["x", "big"]
        assert (await catalog.resolve("default")).name == "x"
        # Of several that are loosely called so, it is the one that is meant.
        catalog = Catalog([Source("gpu", "x", "X")], default_model="X")
        assert names(await catalog.aliases()) == ["X", "x"]
        assert (await catalog.resolve("x:latest")).name == "X"

    run(test)


class Box(Source):
    """Offers a model that talks and one that embeds."""

    async def aliases(self) -> list[Alias]:
        talks, embeds = await super().aliases()
        return [talks, replace(embeds, capabilities=("embedding",))]


def test_for_vectors_the_default_gives_way_to_the_embedder_beside_it_alone() -> None:
    async def test() -> None:
        box = Box("box", "guide", "guide-embed", backend="local")
        mine, others = (Source("aliases", "guide", "guide-embed", backend=backend) for backend in ("local", "gpu"))
        for sources, name, owner in (
            ([box], "guide-embed", "box"),
            ([Source("gpu", "big"), box], "big", "gpu"),
            # What a person calls by these names is what the list has, if it is these models.
            ([mine, box], "guide-embed", "aliases"),
            ([others, box], "box/guide-embed", "box"),
        ):
            catalog = Catalog(sources, ["gpu", "box"] if sources[0].name == "gpu" else ["box"])
            found = catalog.embedder_beside(await catalog.resolve("default"))
            assert (found.name, found.owned_by) == (name, owner)

    run(test)


def test_a_configured_default_that_is_not_there_is_named_and_not_replaced() -> None:
    async def test() -> None:
        catalog = Catalog([Source("gpu", "big")], ["gpu"], "bigg")
        assert names(await catalog.aliases()) == ["big"]
        with pytest.raises(ModelNotFound, match=r"The model 'bigg' does not exist\. Did you mean 'big'"):
            await catalog.resolve("default")

    run(test)


def test_a_name_that_two_backends_share_is_listed_with_theirs() -> None:
    async def test() -> None:
        catalog = Catalog([Source("a", "llama", "x"), Source("b", "llama", "y")])
        assert names(await catalog.aliases()) == ["a/llama", "x", "b/llama", "y"]
        assert (await catalog.resolve("b/llama")).target == RemoteTarget("b", "llama")
        assert (await catalog.resolve("llama")).target == RemoteTarget("a", "llama")
        # Limits, usage and metrics know a model by one name, whichever of its names the caller used.
        assert {(await catalog.resolve(name)).name for name in ("llama", "Llama:latest", "a/llama")} == {"a/llama"}
        assert (await catalog.resolve("b/y")).target == RemoteTarget("b", "y")

    run(test)


def test_what_cannot_be_undone_needs_a_name_that_stands_for_one_model() -> None:
    def pulled(quant: str) -> Alias:
        path = Path(f"models--org--repo/snapshots/0/m-{quant}.gguf")
        name = f"org/repo:{quant}"
        return Alias(name, LocalTarget(ModelFile(name, path, 1, 0, "org/repo", quant, None, (path,))), 0, "org")

    class Files:
        name = "files"
        here = (pulled("Q4_K_M"), pulled("Q8_0"))

        async def aliases(self) -> list[Alias]:
            return list(self.here)

    async def test() -> None:
        files = Files()
        catalog = Catalog([files])
        assert (await catalog.resolve("hf.co/org/repo")).name == "org/repo:Q4_K_M"
        for name in ("hf.co/org/repo", "org/repo:latest", "default", "DEFAULT:latest"):
            with pytest.raises(AmbiguousName) as refused:
                await catalog.resolve_exactly(name)
            assert refused.value.status == 409
        with pytest.raises(AmbiguousName, match=r"'org/repo:Q4_K_M', 'org/repo:Q8_0'"):
            await catalog.resolve_exactly("org/repo")
        for name in ("org/repo:Q8_0", "ORG/repo:q8_0", "hf.co/org/repo:Q8_0", "org/repo/m-Q8_0.gguf"):
            assert (await catalog.resolve_exactly(name)).name == "org/repo:Q8_0"
        files.here = files.here[:1]
        await catalog.refresh()
        assert (await catalog.resolve_exactly("hf.co/org/repo")).name == "org/repo:Q4_K_M"
        with pytest.raises(ModelNotFound):
            await catalog.resolve_exactly("org/repo:Q8_0")

    run(test)


def test_an_unknown_name_gets_close_ones() -> None:
    async def test() -> None:
        catalog = Catalog([Source("a", "llama-3.1-8b", "qwen3", "gemma")])
        with pytest.raises(ModelNotFound, match=r"Did you mean 'llama-3\.1-8b'\?") as caught:
            await catalog.resolve("llama3.1:8b")
        assert (caught.value.param, caught.value.status) == ("model", 404)
        with pytest.raises(ModelNotFound, match=r"does not exist\. 'default' does, and /v1/models lists all\.$"):
            await catalog.resolve("zzz")

    run(test)
