"""The alias files over HTTP: edited by two at once, by hand, wrongly; and what a chat makes of them."""

import asyncio
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.handlers.aliases import PATH, chat, create, models, names, text, url


@pytest.fixture
def system_folder(tmp_path: Path) -> Path:
    """Aliases that an administrator installed."""
    folder = tmp_path / "system-aliases"
    folder.mkdir()
    return folder


@pytest.fixture
def bodhi_config(system_folder: Path) -> dict[str, Any]:
    return {"alias_folders": [str(system_folder)]}


@pytest.fixture
def model(model: str) -> str:
    """A model in the models folder, as an alias names it."""
    return f"{model}.gguf"


class TestLife:
    async def test_from_its_creation_to_its_end(self, client, model, jp_data_dir) -> None:
        created = await create(client, "mine", description="the first", tags=["a"])
        assert created.json() == {
            "alias": "mine",
            "path": model,
            "description": "the first",
            "tags": ["a"],
            "read_only": False,
            "modified": created.json()["modified"],
        }
        assert (jp_data_dir / "bodhi" / "aliases" / "mine.yaml").is_file()
        assert await names(client) == ["mine"]
        read = await client.get(url("mine"))
        assert read.json() == created.json()
        assert read.headers["etag"] == created.headers["etag"]

        changed = await client.put(url("mine"), json={"path": model, "description": "the second"})
        assert changed.status_code == 200
        assert changed.json()["description"] == "the second"
        assert "tags" not in changed.json()
        assert changed.headers["etag"] != created.headers["etag"]

        gone = await client.delete(url("mine"))
        assert (gone.status_code, gone.content) == (204, b"")
        assert await names(client) == []
        assert "mine" not in await models(client)

    async def test_each_step_shows_in_the_list_of_models_at_once(self, client, model) -> None:
        await client.get("/v1/models")

        async def listed() -> dict[str, Any]:
            return {entry["id"]: entry for entry in (await client.get("/v1/models")).json()["data"]}

        await create(client, "mine", tags=["a"])
        assert (await listed())["mine"]["tags"] == ["a"]
        await client.put(url("mine"), json={"path": model, "tags": ["b"]})
        assert (await listed())["mine"]["tags"] == ["b"]
        await client.put(url("mine"), json={"alias": "renamed", "path": model})
        assert {"mine", "renamed"} & set(await listed()) == {"renamed"}
        await client.delete(url("renamed"))
        assert "renamed" not in await listed()

    async def test_what_was_read_can_be_sent_back(self, client, model) -> None:
        await create(client, "mine", keep_alive="5m")
        read = await client.get(url("mine"))
        sent = await client.put(url("mine"), json=read.json() | {"tags": ["x"]})
        assert sent.status_code == 200
        assert sent.json() == read.json() | {"tags": ["x"], "modified": sent.json()["modified"]}

    @pytest.mark.parametrize("name", ["org/model", "org/model:Q4_K_M", "a:b", "org/copy", "x+y@z"])
    async def test_a_name_with_separators(self, client, model, name) -> None:
        await create(client, name)
        assert (await client.get(url(name))).json()["alias"] == name
        assert (await client.put(url(name), json={"path": model})).status_code == 200
        copied = await client.post(f"{url(name)}/copy", json={"alias": f"{name}-2"})
        assert copied.status_code == 201
        assert (await client.get(f"/v1/models/{quote(name, safe='')}")).json()["id"] == name
        assert (await client.delete(url(name))).status_code == 204
        assert await names(client) == [f"{name}-2"]

    async def test_a_name_whose_slash_a_proxy_has_decoded(self, client, model) -> None:
        await create(client, "org/model")
        assert (await client.get(f"{PATH}/org/model")).json()["alias"] == "org/model"
        assert (await client.post(f"{PATH}/org/model/copy", json={"alias": "b"})).status_code == 201


class TestTwoEditors:
    async def test_the_second_is_told_and_nothing_is_lost(self, client, model, error_of) -> None:
        seen = (await create(client, "mine")).headers["etag"]
        first = await client.put(url("mine"), json={"path": model, "description": "first"}, headers={"If-Match": seen})
        assert first.status_code == 200
        for attempt in (
            client.put(url("mine"), json={"path": model, "description": "second"}, headers={"If-Match": seen}),
            client.delete(url("mine"), headers={"If-Match": seen}),
        ):
            response = await attempt
            assert response.status_code == 412
            assert error_of(response)["code"] == "alias_changed"
        now = await client.get(url("mine"))
        assert now.json()["description"] == "first"
        again = await client.put(
            url("mine"), json=now.json() | {"description": "both"}, headers={"If-Match": now.headers["etag"]}
        )
        assert again.json()["description"] == "both"

    async def test_any_of_several_tags_may_match_and_no_weak_one_does(self, client, model) -> None:
        seen = (await create(client, "mine")).headers["etag"]
        statuses = [
            (await client.put(url("mine"), json={"path": model}, headers={"If-Match": tags})).status_code
            for tags in (f"W/{seen}", seen.strip('"'), '"old", "older"', f'W/{seen}, "old"', f'"old", {seen}')
        ]
        assert statuses == [412, 412, 412, 412, 200]

    async def test_one_that_another_hand_removed_is_not_there(self, client, model, jp_data_dir) -> None:
        await create(client, "mine")
        assert (await client.get("/v1/models/mine")).status_code == 200
        (jp_data_dir / "bodhi" / "aliases" / "mine.yaml").unlink()
        assert (await client.put(url("mine"), json={"path": model})).status_code == 404
        assert (await client.delete(url("mine"))).status_code == 404

    async def test_of_many_at_the_same_moment_one_wins(self, client, model) -> None:
        seen = (await create(client, "mine")).headers["etag"]

        async def edit(number: int) -> tuple[int, str]:
            description = f"editor {number}"
            response = await client.put(
                url("mine"), json={"path": model, "description": description}, headers={"If-Match": seen}
            )
            return response.status_code, description

        results = await asyncio.gather(*(edit(number) for number in range(8)))
        (winner,) = [description for status, description in results if status == 200]
        assert sorted(status for status, _ in results) == [200] + [412] * 7
        assert (await client.get(url("mine"))).json()["description"] == winner

    async def test_a_hand_that_edits_the_file_counts(self, client, model, jp_data_dir) -> None:
        seen = (await create(client, "mine")).headers["etag"]
        file = jp_data_dir / "bodhi" / "aliases" / "mine.yaml"
        file.write_text(file.read_text() + "description: by hand\n")
        response = await client.put(url("mine"), json={"path": model}, headers={"If-Match": seen})
        assert response.status_code == 412
        assert (await client.get(url("mine"))).json()["description"] == "by hand"

    @pytest.mark.parametrize("header", [{}, {"If-Match": "*"}])
    async def test_who_does_not_ask_for_it_overwrites(self, client, model, header) -> None:
        await create(client, "mine", description="first")
        response = await client.put(url("mine"), json={"path": model}, headers=header)
        assert response.status_code == 200
        assert "description" not in response.json()


class TestRefusals:
    async def test_a_taken_name(self, client, model, error_of) -> None:
        await create(client, "mine")
        await create(client, "other")
        for response in (
            await client.post(PATH, json={"alias": "mine", "path": model}),
            await client.post(f"{url('other')}/copy", json={"alias": "mine"}),
            await client.put(url("other"), json={"alias": "mine", "path": model}),
        ):
            assert response.status_code == 409
            assert error_of(response)["code"] == "alias_exists"
        assert sorted(await names(client)) == ["mine", "other"]

    async def test_a_name_that_is_not_there(self, client, model, error_of) -> None:
        for response in (
            await client.get(url("nope")),
            await client.put(url("nope"), json={"path": model}),
            await client.delete(url("nope")),
            await client.post(f"{url('nope')}/copy", json={"alias": "new"}),
        ):
            assert response.status_code == 404
            assert error_of(response)["code"] == "alias_not_found"
        assert await names(client) == []

    @pytest.mark.parametrize("name", ["found", "tiny-random", "system"])
    async def test_what_is_not_ours_can_be_copied_and_not_changed(
        self, client, model, error_of, system_folder, jp_data_dir, name
    ) -> None:
        installed = system_folder / "system.yaml"
        installed.write_text(f"alias: system\npath: {model}\n# for everybody\n")
        await client.get("/v1/models")
        for response in (await client.put(url(name), json={"path": model}), await client.delete(url(name))):
            assert response.status_code == 403
            error = error_of(response)
            assert error["code"] == "alias_read_only"
            assert "copy" in error["message"]
        assert installed.exists()
        copied = await client.post(f"{url(name)}/copy", json={"alias": "mine"})
        assert copied.status_code == 201
        assert not copied.json()["read_only"]
        copy, original = [(await client.get(f"/v1/models/{model}")).json()["meta"] for model in ("mine", name)]
        assert copy == original
        assert (await client.put(url("mine"), json=copied.json() | {"tags": ["x"]})).status_code == 200

    async def test_an_installed_alias_is_listed_as_read_only(self, client, model, system_folder) -> None:
        (system_folder / "system.yaml").write_text(f"alias: system\npath: {model}\n")
        assert (await client.get(url("system"))).json()["read_only"] is True
        assert (await client.post(f"{url('system')}/copy", json={"alias": "system"})).status_code == 201
        assert (await client.get(url("system"))).json()["read_only"] is False

    async def test_a_wrong_field_is_named(self, client, error_of) -> None:
        for fields, param in (
            ({}, "alias"),
            ({"alias": "a b", "path": "m.gguf"}, "alias"),
            ({"alias": "a/../b", "path": "m.gguf"}, "alias"),
            ({"alias": "Default", "path": "m.gguf"}, "alias"),
            ({"alias": "x"}, None),
            ({"alias": "x", "path": "m.gguf", "backend": "y", "model": "z"}, None),
            ({"alias": "x", "path": 5}, "path"),
            ({"alias": "x", "path": "m.gguf", "colour": "red"}, "colour"),
            ({"alias": "x", "path": "m.gguf", "request_params": {"temperature": 3}}, "request_params.temperature"),
            ({"alias": "x", "path": "m.gguf", "request_params": {"stop": ["a"] * 5}}, "request_params.stop"),
            ({"alias": "x", "path": "m.gguf", "context_params": {"n_ctx": -1}}, "context_params.n_ctx"),
            ({"alias": "x", "path": "m.gguf", "context_params": {"n_ctxx": 1}}, "context_params.n_ctxx"),
            ({"alias": "x", "path": "m.gguf", "keep_alive": "soon"}, "keep_alive"),
            ({"alias": "x", "path": "m.gguf", "tags": ["a", 1]}, "tags[1]"),
        ):
            response = await client.post(PATH, json=fields)
            assert response.status_code == 400, fields
            error = error_of(response)
            assert (error["param"], error["code"]) == (param, "invalid_alias")
        assert await names(client) == []

    async def test_all_that_is_wrong_is_named(self, client) -> None:
        response = await client.post(PATH, json={"path": 5, "request_params": {"temperature": 3}})
        faults = response.json()["faults"]
        assert [fault["param"] for fault in faults] == ["request_params.temperature", "alias", "path"]
        assert faults[1]["message"] == "This field is missing."

    async def test_a_body_that_is_no_object(self, client, error_of) -> None:
        for body in (b"", b"{", b"[]"):
            for response in (await client.post(PATH, content=body), await client.put(url("x"), content=body)):
                assert response.status_code == 400
                assert error_of(response)["code"] == "malformed_json"

    async def test_a_copy_needs_a_name(self, client, model, error_of) -> None:
        await create(client, "mine")
        for body in ({}, {"alias": 5}, {"alias": "a b"}):
            response = await client.post(f"{url('mine')}/copy", json=body)
            assert response.status_code == 400
            assert error_of(response)["param"] == "alias"


class TestChat:
    async def test_its_defaults_count_where_the_caller_says_nothing(self, client, model) -> None:
        await create(
            client, "mine", request_params={"temperature": 1.5, "seed": 7, "max_tokens": 6, "ignore_eos": True}
        )
        answer = await chat(client, "mine")
        assert answer["model"] == "mine"
        assert answer["usage"]["completion_tokens"] == 6
        assert text(await chat(client, "mine")) == text(answer)
        assert text(await chat(client, "mine", seed=None, max_tokens=None)) == text(answer)
        assert text(await chat(client, "mine", seed=8)) != text(answer)
        for limit in ("max_tokens", "max_completion_tokens"):
            assert (await chat(client, "mine", **{limit: 3}))["usage"]["completion_tokens"] == 3
        assert (await chat(client, "found", max_tokens=9, ignore_eos=True))["usage"]["completion_tokens"] == 9

    async def test_its_system_prompt_is_put_before_the_messages(self, client, model) -> None:
        prompt = "answer in one word and be kind"
        await create(client, "mine", request_params={"system_prompt": prompt, "max_tokens": 1})

        async def tokens(name: str, **more: Any) -> int:
            return (await chat(client, name, max_tokens=1, **more))["usage"]["prompt_tokens"]

        user = {"role": "user", "content": "tell me"}
        spelt_out = await tokens("found", messages=[{"role": "system", "content": prompt}, user])
        assert await tokens("found") < spelt_out
        assert await tokens("mine") == spelt_out
        own = [{"role": "system", "content": "go"}, user]
        assert await tokens("mine", messages=own) == await tokens("found", messages=own)

    async def test_a_change_counts_from_the_next_request(self, client, model) -> None:
        await create(client, "mine", request_params={"max_tokens": 2, "ignore_eos": True})
        assert (await chat(client, "mine"))["usage"]["completion_tokens"] == 2
        await client.put(url("mine"), json={"path": model, "request_params": {"max_tokens": 4, "ignore_eos": True}})
        assert (await chat(client, "mine"))["usage"]["completion_tokens"] == 4


class TestByHand:
    async def test_a_file_is_picked_up_without_a_restart(self, client, model, aliases_folder) -> None:
        await client.get("/v1/models")
        (aliases_folder / "any name.yml").write_text(
            f"# mine\nalias: by-hand\npath: {model}\nrequest_params:\n  max_tokens: 2\n  ignore_eos: true\n"
        )
        assert (await chat(client, "by-hand"))["usage"]["completion_tokens"] == 2
        assert "by-hand" in await models(client)

    async def test_a_broken_file_is_named_with_its_line_and_hides_nothing(
        self, client, model, aliases_folder, caplog
    ) -> None:
        (aliases_folder / "good.yaml").write_text(f"alias: good\npath: {model}\n")
        assert (await client.get("/bodhi/health")).json()["broken_files"] == []
        (aliases_folder / "typo.yaml").write_text(f"alias: typo\npath: {model}\nrequest_params:\n  temperature: hot\n")
        (aliases_folder / "torn.yaml").write_text("alias: torn\npath: [\n")
        with caplog.at_level(logging.WARNING):
            health = await client.get("/bodhi/health")
        assert health.status_code == 200
        broken = {file["name"]: file for file in health.json()["broken_files"]}
        assert set(broken) == {"typo.yaml", "torn.yaml"}
        assert broken["typo.yaml"]["line"] == 4
        assert "request_params.temperature" in broken["typo.yaml"]["reason"]
        assert broken["torn.yaml"]["line"] == 3
        assert "typo.yaml, line 4" in caplog.text
        assert str(aliases_folder) not in health.text
        assert {"good", "found"} <= set(await models(client))
        assert (await client.get(PATH)).json()["broken"] == health.json()["broken_files"]

        caplog.clear()
        await models(client)
        assert "typo.yaml" not in caplog.text  # once is enough
        (aliases_folder / "typo.yaml").write_text(f"alias: typo\npath: {model}\n")
        assert [file["name"] for file in (await client.get("/bodhi/health")).json()["broken_files"]] == ["torn.yaml"]
        assert "typo" in await models(client)

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("not-here.gguf", "'not-here.gguf' is not on this machine"),
            ("/a/secret/folder/not-here.gguf", "'not-here.gguf' is not on this machine"),
            ("~nobody-of-that-name/m.gguf", "its folder is not known here"),
            ("x" * 5000, "name too long"),
        ],
    )
    async def test_a_model_that_cannot_be_found_is_reported_and_hides_nothing(
        self, client, model, aliases_folder, path, reason
    ) -> None:
        await create(client, "good")
        (aliases_folder / "lost.yaml").write_text(f"alias: lost\npath: {path!r}\n")
        assert {"good", "found"} <= set(await models(client))
        health = await client.get("/bodhi/health")
        (broken,) = health.json()["broken_files"]
        assert broken["name"] == "lost.yaml"
        assert reason in broken["reason"]
        assert "secret" not in health.text
        problems = {alias["alias"]: alias.get("problem") for alias in (await client.get(PATH)).json()["data"]}
        assert problems == {"good": None, "lost": broken["reason"]}
        assert (await client.get("/v1/models/lost")).status_code == 404
