"""The chat's Python side."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from pydantic import PydanticUserError

from bodhi_jupyter.notebook.attach import MAX_TEXT, attachment_of
from bodhi_jupyter.notebook.chat_view import ChatView

PNG = b"\x89PNG\r\n\x1a\n and more"
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


def test_everything_can_be_set_before_it_is_shown():
    chat = ChatView(model="m", system="Be kind.", messages=[{"role": "user", "content": "hi"}])
    chat.parameters = {"temperature": 0.5}
    state = chat.get_state()
    assert (state["model"], state["system"], state["parameters"]) == ("m", "Be kind.", {"temperature": 0.5})
    assert state["messages"] == [{"role": "user", "content": "hi"}]
    assert "export default" in state["_esm"]


def test_functions_are_offered():
    def one() -> None:
        """First."""

    def two(x: int) -> int:
        return x

    chat = ChatView([one])
    chat.offer(two)
    assert [tool["function"]["name"] for tool in chat.tools] == ["one", "two"]


class Basket:
    """No type that JSON can say."""


def fill(basket: Basket) -> None:
    pass


def carry(basket: Gone) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


@pytest.mark.parametrize(("function", "error"), [(fill, PydanticUserError), (carry, NameError)])
def test_a_function_that_cannot_be_offered_hinders_no_other(function, error):
    def count() -> int:
        return 3

    chat = ChatView()
    with pytest.raises(error):
        chat.offer(function)
    chat.offer(count)
    assert [tool["function"]["name"] for tool in chat.tools] == ["count"]


async def test_once_closed_nothing_goes_on():
    asked, ended = asyncio.Event(), asyncio.Event()

    async def handler(_: httpx.Request) -> httpx.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    chat = ChatView(http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://server"))
    chat._handle_custom_msg({"kind": "request", "id": "1", "method": "GET", "path": "v1/models"}, [])
    async with asyncio.timeout(20):
        await asked.wait()
        chat.close()
        await ended.wait()
    assert chat.comm is None


def test_what_is_attached_waits_for_the_next_message(picture):
    chat = ChatView()
    chat.attach("text")
    chat.attach(picture)
    assert chat.attachments == [
        {"kind": "text", "name": "text", "text": "text"},
        {"kind": "image", "name": "picture.png", "url": URL},
    ]


class Drawing:
    def _repr_png_(self) -> bytes:
        return PNG


class Undrawn:
    def _repr_png_(self) -> None:
        return None

    def __repr__(self) -> str:
        return "nothing"


@pytest.mark.parametrize(
    ("thing", "name", "attachment"),
    [
        ("words", "", {"kind": "text", "name": "text", "text": "words"}),
        ("words", "notes", {"kind": "text", "name": "notes", "text": "words"}),
        (b"words", "a.txt", {"kind": "text", "name": "a.txt", "text": "words"}),
        (PNG, "", {"kind": "image", "name": "data", "url": URL}),
        (SimpleNamespace(to_csv=lambda: "a,b\n"), "", {"kind": "text", "name": "table.csv", "text": "a,b\n"}),
        (SimpleNamespace(write_csv=lambda: "a,b\n"), "", {"kind": "text", "name": "table.csv", "text": "a,b\n"}),
        (SimpleNamespace(stdout="printed\n"), "", {"kind": "text", "name": "output", "text": "printed\n"}),
        (Drawing(), "", {"kind": "image", "name": "image", "url": URL}),
        (Undrawn(), "", {"kind": "text", "name": "Undrawn", "text": "nothing"}),
        (b"RIFF, she said", "", {"kind": "text", "name": "data", "text": "RIFF, she said"}),
        ([1, 2], "", {"kind": "text", "name": "list", "text": "[1, 2]"}),
    ],
)
def test_what_can_be_attached(thing: Any, name: str, attachment: dict[str, str]):
    assert attachment_of(thing, name) == attachment


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"RIFF\xff\xff\xff\xffWAVEfmt "], ids=["bytes", "a sound"])
def test_what_is_neither_text_nor_an_image_is_refused(data: bytes):
    with pytest.raises(ValueError, match=r"x\.bin is neither text nor an image"):
        attachment_of(data, "x.bin")


def test_long_text_is_cut_and_says_so_before_it_is_sent():
    long = attachment_of("é" * (MAX_TEXT // 2) + "tail", "log")
    assert long["name"] == "log (the first 512 KB)"
    assert long["text"].endswith("é\n… 4 characters more.")
    assert attachment_of("é" * (MAX_TEXT // 2), "log") == {"kind": "text", "name": "log", "text": "é" * (MAX_TEXT // 2)}


class Table:
    """A table of so many rows, which notes how many are written."""

    written = 0

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def head(self, count: int) -> Table:
        return Table(min(count, self.rows))

    def to_csv(self) -> str:
        Table.written += self.rows
        return "a,b\n" + "1,2\n" * self.rows


@pytest.mark.parametrize(("rows", "end"), [(3, "1,2\n"), (100_000, "1,2\n")])
def test_a_table_that_fits_goes_along_whole(rows, end):
    table = attachment_of(Table(rows))
    assert (table["name"], table["text"]) == ("table.csv", "a,b\n" + end * rows)


def test_of_a_large_table_only_the_beginning_is_written(monkeypatch):
    monkeypatch.setattr(Table, "written", 0)
    table = attachment_of(Table(100_000_000))
    assert table["name"] == "table.csv (the first 512 KB)"
    assert table["text"].endswith("\n… The table has 100,000,000 rows.")
    assert table["text"].startswith("a,b\n1,2\n")
    assert len(table["text"]) > MAX_TEXT
    assert Table.written < 4_000_000


def test_of_a_large_file_only_the_beginning_is_read(tmp_path):
    path = tmp_path / "x.log"
    path.write_bytes("é".encode() * 2**19 + b"\xff")
    # The disk gives no more than is written; this would fill the memory.
    os.truncate(path, 2**40)
    file = attachment_of(path)
    assert file["name"] == "x.log (the first 512 KB)"
    assert file["text"] == "é" * (MAX_TEXT // 2) + f"\n… {2**40 - MAX_TEXT:,} bytes more."


def test_a_large_image_is_refused_before_all_of_it_is_read(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    os.truncate(path, 2**40)
    with pytest.raises(ValueError, match=r"^x\.png is larger than 8 MB\.$"):
        attachment_of(path)


def test_no_letter_is_cut_in_two():
    assert "\ufffd" not in attachment_of("a" + "é" * MAX_TEXT)["text"]


def test_more_than_the_chats_can_hold_is_refused():
    chat = ChatView(chats=[{"id": "0", "messages": [{"role": "user", "content": "x" * (5 * 2**20)}], "system": ""}])
    with pytest.raises(ValueError, match=r"^photo does not fit: all chats together hold 8 MB\.$"):
        chat.attach(PNG + bytes(3 * 2**20), "photo")
    assert chat.attachments == []
    chat.attach(PNG, "photo")
    assert len(chat.attachments) == 1
