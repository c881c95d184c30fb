"""A person gives a chat things and functions of the notebook, and takes things out of it."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.browser.scripted import calls, says
from tests.fakes.behaviours import status
from tests.live.server import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WEATHER = """\
def weather(city: str, days: int = 1) -> str:
    'The weather.'
    ran.append(city)
    return f'{days} x rain in {city}'
"""
#: Two pixels.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEUlEQVR4nGP8z8DwnwEImBigAAAfFwICgH3ifwAAAABJRU5ErkJggg=="
)


def test_tools_run_when_the_person_says_so(start, notebook, backend):
    chat = start("[weather]", "ran = []", WEATHER)
    backend.script(calls("weather", '{"city": "Oslo", "days": 3}'), says("It rains."))
    chat.ask("How is the weather?")
    card = chat.page.get_by_role("group", name="Call of weather")
    card.get_by_text('"city": "Oslo"').wait_for()
    (tool,) = backend.bodies[0]["tools"]
    assert tool["function"]["name"] == "weather"
    assert tool["function"]["parameters"]["required"] == ["city"]
    assert notebook.value(1, "ran") == []

    card.get_by_role("button", name="Run weather").click()
    chat.answers.get_by_text("It rains.").wait_for()
    assert notebook.value(1, "ran") == ["Oslo"]
    asked = backend.bodies[-1]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "tool"]
    assert asked[-1] == {"role": "tool", "tool_call_id": "call_1", "content": "3 x rain in Oslo"}
    assert card.get_by_role("button").count() == 0


def test_tools_that_are_refused_or_fail_are_told_of(start, notebook, backend):
    chat = start("[weather]", "def weather(city: str) -> str:\n    raise LookupError('no such city')")
    backend.script(calls("weather", '{"city": "Oslo"}'), says("Then not."))
    chat.ask("weather?")
    chat.page.get_by_role("button", name="Skip weather").click()
    chat.answers.get_by_text("Then not.").wait_for()
    assert backend.bodies[-1]["messages"][-1]["content"] == "The user chose not to run this."

    backend.script(calls("weather", '{"city": "Oslo"}'), says("A pity."))
    chat.ask("again?")
    chat.answers.last.get_by_role("button", name="Run weather").click()
    chat.answers.get_by_text("A pity.").wait_for()
    assert backend.bodies[-1]["messages"][-1]["content"] == "Error: LookupError: no such city"

    # Who goes on without an answer to a call has refused it.
    backend.script(calls("weather", '{"city": 1}'), says("Fine."))
    chat.ask("and again?")
    chat.page.get_by_role("button", name="Run weather").wait_for()
    chat.ask("forget it")
    chat.answers.get_by_text("Fine.").wait_for()
    assert [message["role"] for message in backend.bodies[-1]["messages"]][-3:] == ["assistant", "tool", "user"]


def test_things_are_attached_from_python_and_by_hand(start, notebook, backend, module_visit):
    chat = start("", "class Table:\n    def to_csv(self):\n        return 'a,b\\n1,2\\n'")
    page = chat.page
    notebook.set_source(1, "chat.attach(Table(), 'numbers.csv'); chat.attach('plain text'); 6 * 7")
    notebook.run_to_end(1)
    notebook.set_source(2, "chat.attach(Out[max(Out)], 'the cell before')")
    notebook.run_to_end(2)
    page.locator(".bodhi-chip", has_text="the cell before").wait_for()
    page.get_by_label("Files", exact=True).set_input_files(
        [
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"remember"},
            {"name": "dot.png", "mimeType": "image/png", "buffer": PNG},
        ]
    )
    page.locator(".bodhi-chip", has_text="dot.png").wait_for()
    page.get_by_label("Files", exact=True).set_input_files(
        [{"name": "x.bin", "mimeType": "", "buffer": b"\xff\xfe\x00"}]
    )
    page.get_by_text("x.bin is neither text nor an image.").wait_for()
    pasted = """([name, text]) => {
        const data = new DataTransfer();
        data.items.add(new File([text], name, { type: "text/plain" }));
        const area = document.querySelector(".bodhi-input");
        const kind = name.startsWith("pasted")
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true });
        area.dispatchEvent(kind);
    }"""
    for name in ("pasted.py", "dropped.py"):
        page.evaluate(pasted, [name, f"print({name!r})"])
        page.locator(".bodhi-chip", has_text=name).wait_for()
    page.get_by_role("button", name="Remove text").click()

    backend.behave(says("seen"))
    chat.ask("look")
    chat.wait_for_end()
    notebook.wait_for_value(1, "len(chat.messages)", 2)
    message, _ = notebook.value(1, "chat.messages")
    texts = [part.get("text") for part in message["content"]]
    assert texts[0] == "look"
    assert texts[1:4] == ["numbers.csv:\n\na,b\n1,2\n", "the cell before:\n\n42", "notes.txt:\n\nremember"]
    assert message["content"][4]["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert "print('dropped.py')" in texts[-1]
    assert page.get_by_alt_text("Attached image").is_visible()
    assert page.locator(".bodhi-chip").count() == 0


def test_what_the_server_refuses_goes_back_to_where_it_was_written(start, notebook, backend, module_visit):
    chat = start()
    page = chat.page
    backend.behave(status(400, {"error": {"code": 400, "message": "far too long", "type": "invalid_request_error"}}))
    chat.ask("word after word")
    notice = page.locator(".bodhi-notice", has_text="far too long")
    notice.wait_for()
    # The same again would be refused again.
    assert [button.get_attribute("aria-label") for button in notice.get_by_role("button").all()] == ["Close notice"]
    assert page.get_by_label("Message").input_value() == "word after word"
    # It would have everything behind it refused, too.
    notebook.wait_for_value(1, "[chat.status['state'], chat.messages]", ["failed", []])
    backend.behave(says("that is short"))
    chat.ask("hello")
    chat.answers.get_by_text("that is short").wait_for()
    assert [message["content"] for message in backend.bodies[-1]["messages"]] == ["hello"]
    assert notice.is_hidden()
    # Chromium itself reports requests that were refused.
    assert ["400" in text for text in module_visit.errors] == [True]
    module_visit.errors.clear()


def noise(width: int, height: int) -> bytes:
    """A picture that no packing makes smaller."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + os.urandom(width) for _ in range(height))
    begin = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head)
    return begin + part(b"IDAT", zlib.compress(rows, 1)) + part(b"IEND", b"")


def test_pictures_fit_into_what_the_kernel_is_told(start, notebook, backend):
    chat = start()
    page = chat.page
    files = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": noise(3000, 2250)} for name in ("one", "two")]
    page.get_by_label("Files", exact=True).set_input_files(files)
    picture = page.locator(".bodhi-chip img").first
    # Its place is there before it is.
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [2048, 1536]
    page.get_by_text("two.png does not fit: all chats together hold 8 MB.").wait_for()
    backend.behave(says("I see noise."))
    chat.ask("what is it?")
    chat.answers.get_by_text("noise").wait_for()
    chat.wait_for_end()
    # Above its limit the connection would have been closed, and nothing would have come.
    notebook.wait_for_value(1, "[message['role'] for message in chat.messages]", ["user", "assistant"])
    assert 4 * 2**20 < notebook.value(1, "len(json.dumps(chat.messages))") < 10 * 2**20


def wait_for_clipboard(page: Page, text: str) -> None:
    # What is copied is there a little after the click.
    def held() -> bool:
        return bool(page.evaluate("navigator.clipboard.readText()") == text)

    eventually(held, f"{text[:40]!r} in the clipboard", 30)


def test_a_program_that_is_longer_than_a_rendering_is_copied_whole(start, notebook, backend):
    chat = start()
    code = "\n".join(f"# step {number}\n\nx = _f_({number}) * 2" for number in range(900))
    backend.behave(says(f"Look:\n\n```python\n{code}\n```\n\nThat is **all**."))
    chat.ask("a long one please")
    chat.answers.locator("strong", has_text="all").wait_for()
    assert chat.answers.locator(".bodhi-code-block").count() == 1
    assert chat.answers.locator("h1").count() == 0
    chat.answers.get_by_role("button", name="Copy code").click()
    wait_for_clipboard(chat.page, code)


def test_what_was_said_can_be_copied_and_made_into_cells(start, notebook, backend):
    chat = start()
    page = chat.page
    text = "Look:\n\n```python\nx = [1,\n     2]\n```\n\nDone <img src=x onerror=alert(1)>."
    backend.behave(says(text))
    chat.ask("code please")
    chat.answers.get_by_text("Done").wait_for()
    chat.answers.get_by_role("button", name="Copy message").click()
    page.locator(".bodhi-chat").get_by_role("status").get_by_text("Copied", exact=True).wait_for(state="attached")
    wait_for_clipboard(page, text)
    page.get_by_role("button", name="Copy code").click()
    wait_for_clipboard(page, "x = [1,\n     2]")

    page.get_by_role("button", name="Insert as cell below").click()
    page.locator(".jp-Notebook .jp-Cell").nth(3).wait_for()
    lines = notebook.cell(1).locator(".cm-line")
    # Cells are shown before what is in them.
    lines.nth(1).wait_for()
    assert lines.all_inner_texts() == ["x = [1,", "     2]"]

    page.get_by_label("More", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export to Markdown").click()
    exported = download.value.path().read_text(encoding="utf-8")
    assert exported == f"**You**\n\ncode please\n\n**fake-model**\n\n{text}\n"

    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Export to cells").click()
    page.locator(".jp-Notebook .jp-Cell").nth(9).wait_for()
    kinds = page.locator(".jp-Notebook .jp-Cell").evaluate_all(
        "cells => cells.map(cell => cell.classList.contains('jp-MarkdownCell') ? 'm' : 'c').join('')"
    )
    assert kinds == "cmmmmcmccc"
    page.locator(".jp-MarkdownCell", has_text="onerror").locator(".jp-RenderedMarkdown").wait_for()
    assert page.locator(".jp-Notebook img").count() == 0
    # As the next test expects the notebook.
    for _ in range(7):
        page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".jp-InputPrompt").click()
        page.keyboard.press("x")
    page.wait_for_function("document.querySelectorAll('.jp-Notebook .jp-Cell').length === 3")
