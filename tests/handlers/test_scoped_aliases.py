"""What a scoped key may say in an alias: arguments that compute, and files that are models."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from bodhi_jupyter.catalog.alias_file import parse_document
from bodhi_jupyter.handlers import manage_aliases
from tests.handlers.aliases import PATH, create, names, url

HARMFUL = {"extra_args": ["--chat-template-file", "/etc/hostname"]}


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture
def model(model: str) -> str:
    """A model in the models folder, as an alias names it."""
    return f"{model}.gguf"


@pytest.fixture
def keyed(extension, server_url, jp_asyncio_loop):
    """A client with a scoped key in place of the token."""
    key = {"Authorization": f"Bearer {extension.gateway.keys.mint('kernel:1')}"}
    keyed = httpx.AsyncClient(base_url=server_url, headers=key, timeout=30, trust_env=False)
    yield keyed
    jp_asyncio_loop.run_until_complete(keyed.aclose())


class TestArguments:
    """What may be said to a `llama-server` binary, by whom."""

    @pytest.mark.parametrize(
        "context",
        [HARMFUL, {"extra_args": ["--mlock", "--mcp_servers_json={}"]}, ["--ctx-size 512 --slot-save-path /tmp"]],
    )
    async def test_a_scoped_key_opens_no_files(self, client, keyed, model, context, error_of) -> None:
        await create(client, "mine")
        body = {"alias": "other", "path": model, "context_params": context}
        nameless = {name: value for name, value in body.items() if name != "alias"}
        for response in (
            await keyed.post(PATH, json=body),
            await keyed.put(url("mine"), json=body),
            await keyed.put(url("mine"), json=nameless),
        ):
            assert (response.status_code, error_of(response)["param"]) == (403, "context_params.extra_args")
        assert await names(client) == ["mine"]

    async def test_what_only_computes_is_everybodys(self, keyed, model) -> None:
        created = await create(keyed, "mine", context_params={"extra_args": ["--mlock", "--numa", "numactl"]})
        changed = await keyed.put(url("mine"), json=created.json() | {"context_params": {"extra_args": ["--no-mmap"]}})
        assert changed.json()["context_params"] == {"extra_args": ["--no-mmap"]}

    async def test_the_token_may_say_all_and_what_is_said_stays(self, client, keyed, model, error_of) -> None:
        said = (await create(client, "mine", context_params=HARMFUL)).json()
        kept = await keyed.put(url("mine"), json=said | {"description": "x"})
        assert (kept.status_code, kept.json()["context_params"]) == (200, HARMFUL)
        assert (await keyed.post(f"{url('mine')}/copy", json={"alias": "copy"})).status_code == 201
        other = {"extra_args": ["--chat-template-file", "/etc/passwd"]}
        refused = await keyed.put(url("copy"), json=said | {"alias": "copy", "context_params": other})
        assert error_of(refused)["code"] == "permission_denied"

    async def test_what_is_no_alias_is_told_as_ever(self, keyed, error_of) -> None:
        refused = await keyed.post(PATH, json={"alias": "mine", "context_params": HARMFUL})
        assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_alias")

    async def test_the_event_loop_does_not_look_at_it(self, keyed, model, monkeypatch) -> None:
        """A document with many mistakes takes long."""
        threads = []

        def watched(document: dict[str, Any]) -> Any:
            threads.append(threading.current_thread())
            return parse_document(document)

        monkeypatch.setattr(manage_aliases, "parse_document", watched)
        await create(keyed, "mine", model)
        assert (await keyed.put(url("mine"), json={"path": model})).status_code == 200
        assert len(threads) == 2
        assert threading.main_thread() not in threads


class TestFiles:
    """What else a key could learn of a disk: whether a file is there, and how large it is."""

    @pytest.mark.parametrize(
        ("param", "fields"),
        [
            ("path", {"path": "/etc/passwd"}),
            ("path", {"path": "../../secret"}),
            ("path", {"path": "~/.ssh/id_rsa"}),
            ("path", {"path": "/etc/x.gguf/../passwd"}),
            ("context_params.mmproj", {"path": "m.gguf", "context_params": {"mmproj": "/etc/passwd"}}),
            ("context_params.lora[1]", {"path": "m.gguf", "context_params": {"lora": ["a.gguf", "/etc/passwd"]}}),
            ("context_params.lora[0]", {"path": "m.gguf", "context_params": ["--lora /etc/passwd"]}),
        ],
    )
    async def test_what_is_no_gguf_is_not_looked_for(self, client, keyed, model, param, fields, error_of) -> None:
        await create(client, "mine")
        for response in (
            await keyed.post(PATH, json={"alias": "other", **fields}),
            await keyed.put(url("mine"), json=fields),
        ):
            assert (response.status_code, error_of(response)["param"]) == (403, param)
        assert await names(client) == ["mine"]
        assert (await client.post(PATH, json={"alias": "other", **fields})).status_code == 201

    async def test_a_model_may_be_anywhere(self, keyed, model, jp_data_dir, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere" / "mine.GGUF"
        elsewhere.parent.mkdir()
        elsewhere.symlink_to(jp_data_dir / "bodhi" / "models" / model)
        created = await create(keyed, "mine", str(elsewhere), context_params={"mmproj": "later.gguf", "lora": []})
        assert created.json()["problem_param"] == "context_params.mmproj"
        found = await keyed.put(url("mine"), json={"path": str(elsewhere)})
        assert "problem" not in found.json()

    async def test_what_the_token_named_stays(self, client, keyed, model) -> None:
        said = (await create(client, "mine", "/models/blobs/sha256-1")).json()
        kept = await keyed.put(url("mine"), json=said | {"description": "x"})
        assert (kept.status_code, kept.json()["path"]) == (200, "/models/blobs/sha256-1")
        assert (await keyed.post(f"{url('mine')}/copy", json={"alias": "copy"})).status_code == 201
