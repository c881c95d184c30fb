"""``bodhi_jupyter.usage()`` against a server, with pandas and without."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any

import pytest

import bodhi_jupyter
from bodhi_jupyter.notebook.errors import NotebookError
from tests.telemetry.records import record


@pytest.fixture
def counted(extension) -> None:
    for alias in ("a", "a", "b"):
        extension.gateway.recorder.record(record(alias=alias))


async def ask(**arguments: Any) -> Any:
    return await asyncio.to_thread(bodhi_jupyter.usage, **arguments)


async def test_a_kernels_environment_is_enough(counted, extension, server_url, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", extension.gateway.keys.mint("kernel:k1"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    rows = await ask()
    assert [(row["alias"], row["requests"], row["prompt_tokens"]) for row in rows] == [("a", 2, 60), ("b", 1, 30)]
    (row,) = await ask(by="")
    assert row["requests"] == 3


async def test_an_address_and_a_key_can_be_given(counted, server_url, token, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for url in (server_url, f"{server_url}/", f"{server_url}/v1", f"{server_url}/v1/"):
        assert len(await ask(url=url, key=token, bucket="hour", since=0)) == 2


async def test_a_list_says_several_things_to_split_by(counted, server_url, token, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    rows = await ask(url=server_url, key=token, by=["alias", "user"])
    assert [set(row) & {"alias", "user", "client"} for row in rows] == [{"alias", "user"}] * 2
    assert rows == await ask(url=server_url, key=token, by="alias,user")
    (row,) = await ask(url=server_url, key=token, by=[])
    assert row["requests"] == 3


async def test_with_pandas_it_is_a_table(counted, server_url, token, monkeypatch) -> None:
    class DataFrame(dict):  # type: ignore[type-arg]
        def __init__(self, rows: list[dict[str, Any]], columns: list[str]) -> None:
            super().__init__({name: [row[name] for row in rows] for name in columns})

    pandas = types.ModuleType("pandas")
    pandas.DataFrame = DataFrame  # type: ignore[attr-defined]
    pandas.to_datetime = lambda values, utc: [f"{value} as a moment" for value in values]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: pandas)
    table = await ask(url=server_url, key=token)
    assert table["alias"] == ["a", "b"]
    assert table["time"][0].endswith("as a moment")
    nothing = await ask(url=server_url, key=token, until=1000, since=0)
    assert set(nothing) == set(table)
    assert not any(nothing.values())


async def test_what_is_wrong_is_said_in_the_servers_words(server_url, token, monkeypatch) -> None:
    for name in ("OPENAI_BASE_URL", "OLLAMA_HOST", "ANTHROPIC_BASE_URL", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NotebookError, match="No Jupyter server"):
        await ask()
    with pytest.raises(NotebookError, match="Invalid value for 'by'"):
        await ask(url=server_url, key=token, by="content")
    with pytest.raises(NotebookError, match="API key"):
        await ask(url=server_url, key="wrong")


async def test_another_providers_key_is_not_sent(server_url, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-somebodys-own-and-long-enough")
    with pytest.raises(NotebookError, match="No key was sent"):
        await ask(url=server_url)
