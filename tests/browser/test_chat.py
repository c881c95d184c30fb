"""A person chats in JupyterLab: clicks, keys, and what Python sees of it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Visit
from tests.browser.notebook_page import ChatPage, NotebookPage
from tests.browser.scripted import ScriptedBackend, calls, says
from tests.fakes.behaviours import die_between_chunks, never_ending, stall_mid_stream, status
from tests.live.server import LiveServer, eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

IMPORT = "from bodhi_jupyter.notebook.chat_view import ChatView"
#: Two pixels.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEUlEQVR4nGP8z8DwnwEImBigAAAfFwICgH3ifwAAAABJRU5ErkJggg=="
)
ALIAS = """\
alias: tutor
backend: backend
model: fake-model
request_params: {temperature: 0.25, system_prompt: Explain as to a beginner.}
"""

StartChat = Callable[..., ChatPage]


@pytest.fixture(scope="module")
def notebook(scripted_lab: LiveServer, module_visit: Visit) -> NotebookPage:
    folder = scripted_lab.root.parent / "data" / "bodhi" / "aliases"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tutor.yaml").write_text(ALIAS)
    return NotebookPage(scripted_lab, module_visit.page, IMPORT, "", "")


@pytest.fixture
def start(notebook: NotebookPage, module_visit: Visit, backend: ScriptedBackend) -> Iterator[StartChat]:
    """Shows a new chat, made by this Python; the page must have stayed quiet at the end."""
    module_visit.errors.clear()
    backend.fake.requests.clear()

    def start(arguments: str = "", *before: str) -> ChatPage:
        notebook.set_source(0, "\n".join([IMPORT, *before, f"chat = ChatView({arguments})", "chat"]))
        notebook.run_to_end(0)
        chat = ChatPage(notebook.page)
        chat.message.wait_for()
        # The models are there once the server has been found.
        notebook.page.locator(".bodhi-models option", has_text="tutor").wait_for(state="attached")
        return chat

    yield start
    assert module_visit.hosts == {"127.0.0.1"}
    assert module_visit.errors == []


def python(notebook: NotebookPage, expression: str) -> Any:
    return notebook.value(1, expression)


def test_an_answer_streams_and_python_sees_it(start, notebook, backend, module_visit):
    chat = start()
    backend.behave(says("**Bold** and `code`.\n\nThe end.", reasoning="First I think."))
    chat.ask("What is <b>this</b>?")
    chat.wait_for_end()

    answer = chat.answers.last
    answer.locator("strong", has_text="Bold").wait_for()
    answer.get_by_text("The end.").wait_for()
    assert chat.page.locator(".bodhi-message[data-role='user'] .bodhi-plain").inner_text() == "What is <b>this</b>?"
    assert answer.locator(".bodhi-name").inner_text() == "fake-model"
    # Reasoning is there, and folded.
    assert not answer.get_by_text("First I think.").is_visible()
    answer.get_by_text("Reasoning", exact=True).click()
    assert answer.get_by_text("First I think.").is_visible()
    assert re.fullmatch(r"8 tokens · 41.3 tokens/s · first after \d\.\d\d s", answer.locator(".bodhi-stats").inner_text())
    assert chat.page.locator(".bodhi-meter").inner_text().strip() == "38 of 4,096 tokens of context"

    last, messages, state = python(notebook, "[chat.last, chat.messages, chat.status['state']]")
    assert last["text"] == "**Bold** and `code`.\n\nThe end."
    assert (last["prompt_tokens"], last["completion_tokens"], last["finish_reason"]) == (30, 8, "stop")
    assert last["tokens_per_second"] == 41.3
    assert last["first_token_seconds"] > 0
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["reasoning"] == "First I think."
    assert state == "ready"
    assert [message["role"] for message in backend.bodies[-1]["messages"]] == ["user"]


def test_what_is_shown_has_names_for_whoever_cannot_see_it(start, backend):
    chat = start()
    page = chat.page
    assert chat.log.get_attribute("role") == "log"
    assert chat.stop.is_hidden()
    names = {
        button.get_attribute("aria-label") or button.inner_text().strip()
        for button in page.locator(".bodhi-chat :is(button, summary, select, textarea, input)").all()
        if button.is_visible()
    }
    assert "" not in names
    assert {"Send", "Message", "Model", "Chat", "Settings", "Undo", "New chat", "Attach files", "More"} <= names
    backend.behave(stall_mid_stream())
    chat.ask("hello")
    chat.stop.wait_for()
    # Read out when it is whole, and not word by word.
    assert chat.log.get_attribute("aria-busy") == "true"
    chat.message.press("Escape")
    chat.wait_for_end()
    assert chat.log.get_attribute("aria-busy") == "false"


def test_enter_sends_and_shift_enter_does_not(start, backend):
    chat = start()
    backend.behave(says("fine"))
    chat.message.click()
    # Letters that are shortcuts for cells.
    chat.page.keyboard.type("dd b a")
    chat.page.keyboard.press("Shift+Enter")
    chat.page.keyboard.type("second")
    assert chat.answers.count() == 0
    chat.page.keyboard.press("Enter")
    chat.answers.get_by_text("fine").wait_for()

    assert backend.bodies[-1]["messages"][-1]["content"] == "dd b a\nsecond"
    assert chat.page.locator(".jp-Notebook .jp-Cell").count() == 3


@pytest.mark.parametrize("by", ["click", "Escape"])
def test_stop_stops_the_generation(start, notebook, backend, by):
    chat = start()
    backend.behave(never_ending(8))
    chat.ask("go on for ever")
    chat.answers.get_by_text("xxxx").wait_for()
    began = time.monotonic()
    if by == "click":
        chat.stop.click()
    else:
        chat.message.press("Escape")
    eventually(backend.fake.client_left.is_set, "the generation to stop")
    print(f"stopped {1000 * (time.monotonic() - began):.0f} ms after the {by}")
    chat.wait_for_end()

    assert "stopped" in chat.answers.last.locator(".bodhi-stats").inner_text()
    assert chat.send.is_visible()
    assert python(notebook, "chat.last['finish_reason']") == "stopped"
    backend.behave(says("again"))
    chat.ask("and now?")
    chat.answers.get_by_text("again").wait_for()


def test_regenerate_edit_undo_and_clear(start, notebook, backend):
    chat = start()
    page = chat.page
    backend.behave(says("one"))
    chat.ask("first")
    chat.answers.get_by_text("one").wait_for()

    backend.behave(says("two"))
    page.get_by_role("button", name="Regenerate").click()
    chat.answers.get_by_text("two").wait_for()
    assert chat.answers.count() == 1
    assert backend.bodies[-1]["messages"] == [{"role": "user", "content": "first"}]

    backend.behave(says("three"))
    page.get_by_role("button", name="Edit message").click()
    edited = page.get_by_role("textbox", name="Edited message")
    assert edited.input_value() == "first"
    edited.fill("second")
    page.get_by_role("button", name="Send again").click()
    chat.answers.get_by_text("three").wait_for()
    assert backend.bodies[-1]["messages"] == [{"role": "user", "content": "second"}]

    undo = page.get_by_role("button", name="Undo")
    undo.click()
    chat.answers.get_by_text("two").wait_for()
    assert page.locator(".bodhi-message[data-role='user']").inner_text().strip() == "first"
    undo.click()
    chat.answers.get_by_text("one").wait_for()

    page.get_by_label("More").click()
    page.get_by_role("button", name="Clear chat").click()
    page.locator(".bodhi-message").first.wait_for(state="detached")
    assert python(notebook, "chat.messages") == []
    undo.click()
    chat.answers.get_by_text("one").wait_for()
    undo.click()
    assert page.locator(".bodhi-message").count() == 0
    # What was sent and is taken back can be written differently.
    assert chat.message.input_value() == "first"
    assert undo.is_disabled()


def test_settings_have_ranges_and_show_the_aliass_defaults(start, notebook, backend):
    chat = start()
    page = chat.page
    page.get_by_role("button", name="Settings").click()
    temperature = page.get_by_label("Temperature")
    assert temperature.get_attribute("placeholder") == "Model's own"
    chat.model.select_option("tutor")
    assert temperature.get_attribute("placeholder") == "Default 0.25"
    assert page.get_by_label("System prompt").get_attribute("placeholder") == "Explain as to a beginner."

    temperature.fill("3")
    temperature.press("Tab")
    page.get_by_text("Expected 0 to 2.").wait_for()
    assert temperature.get_attribute("aria-invalid") == "true"
    temperature.fill("0.5")
    page.get_by_label("Max tokens").fill("7")
    page.get_by_label("Seed").fill("42")
    page.get_by_label("Top p").fill("0.9")
    page.get_by_label("Stop at").fill("END\nFIN")
    schema = page.get_by_label("JSON schema")
    schema.fill("{")
    schema.press("Tab")
    page.get_by_text("This is not JSON.").wait_for()
    schema.fill('{"type": "object"}')
    page.get_by_label("System prompt").fill("Be short.")
    page.get_by_label("Temperature").click()
    assert temperature.get_attribute("aria-invalid") is None

    backend.behave(says("{}"))
    chat.ask("hello")
    chat.answers.get_by_text("{}").wait_for()
    body = backend.bodies[-1]
    assert body["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hello"}]
    sent = {name: body.get(name) for name in ("temperature", "max_tokens", "seed", "top_p", "stop")}
    assert sent == {"temperature": 0.5, "max_tokens": 7, "seed": 42, "top_p": 0.9, "stop": ["END", "FIN"]}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    parameters, system, model = python(notebook, "[chat.parameters, chat.system, chat.model]")
    assert parameters["temperature"] == 0.5
    assert (system, model) == ("Be short.", "tutor")

    page.get_by_role("button", name="Reset parameters").click()
    assert temperature.input_value() == ""
    chat.ask("again")
    eventually(lambda: len(backend.bodies) == 2, "the second request")
    assert backend.bodies[-1]["temperature"] == 0.25  # the alias's own


def test_what_python_sets_is_shown(start, notebook, backend):
    chat = start('messages=[{"role": "user", "content": "before"}], system="Be kind."')
    chat.page.locator(".bodhi-message[data-role='user']", has_text="before").wait_for()
    notebook.set_source(
        1,
        "chat.messages = [{'role': 'user', 'content': 'from Python'}, {'role': 'assistant', 'content': '*yes*'}]\n"
        "chat.model = 'guide'; chat.parameters = {'temperature': 0.125, 'top_k': 9}",
    )
    notebook.run_to_end(1)
    chat.answers.locator("em", has_text="yes").wait_for()
    assert chat.model.input_value() == "guide"
    chat.page.get_by_role("button", name="Settings").click()
    assert chat.page.get_by_label("Temperature").input_value() == "0.125"
    assert chat.page.get_by_label("System prompt").input_value() == "Be kind."
    assert chat.page.get_by_text("top_k: 9").is_visible()


def test_tools_run_when_the_person_says_so(start, notebook, backend):
    weather = "def weather(city: str, days: int = 1) -> str:\n    'The weather.'\n    ran.append(city); return f'{days} x rain in {city}'"
    chat = start("[weather]", "ran = []", weather)
    backend.script(calls("weather", '{"city": "Oslo", "days": 3}'), says("It rains."))
    chat.ask("How is the weather?")
    card = chat.page.get_by_role("group", name="Call of weather")
    card.get_by_text('"city": "Oslo"').wait_for()
    (tool,) = backend.bodies[0]["tools"]
    assert tool["function"]["name"] == "weather"
    assert tool["function"]["parameters"]["required"] == ["city"]
    assert python(notebook, "ran") == []

    card.get_by_role("button", name="Run weather").click()
    chat.answers.get_by_text("It rains.").wait_for()
    assert python(notebook, "ran") == ["Oslo"]
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
    chat.page.get_by_role("button", name="Run weather").click()
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
    page.get_by_label("Files").set_input_files(
        [
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"remember"},
            {"name": "dot.png", "mimeType": "image/png", "buffer": PNG},
        ]
    )
    page.locator(".bodhi-chip", has_text="dot.png").wait_for()
    page.get_by_label("Files").set_input_files([{"name": "x.bin", "mimeType": "", "buffer": b"\xff\xfe\x00"}])
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

    backend.behave(status(400, {"error": {"code": 400, "message": "no images here", "type": "invalid_request_error"}}))
    chat.ask("look")
    page.locator(".bodhi-notice").wait_for()
    (message,) = python(notebook, "chat.messages")
    texts = [part.get("text") for part in message["content"]]
    assert texts[0] == "look"
    assert texts[1:4] == ["numbers.csv:\n\na,b\n1,2\n", "the cell before:\n\n42", "notes.txt:\n\nremember"]
    assert message["content"][4]["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert "print('dropped.py')" in texts[-1]
    assert page.get_by_alt_text("Attached image").is_visible()
    assert page.locator(".bodhi-chip").count() == 0
    # Chromium itself reports requests that were refused.
    assert ["400" in text for text in module_visit.errors] == [True]
    module_visit.errors.clear()


def test_several_chats(start, notebook, backend):
    chat = start('system="One."')
    page = chat.page
    backend.behave(says("answer to the first"))
    chat.ask("first chat")
    chat.answers.get_by_text("answer to the first").wait_for()
    page.get_by_role("button", name="New chat").click()
    assert page.locator(".bodhi-message").count() == 0
    backend.behave(says("answer to the second"))
    chat.ask("second chat")
    chat.answers.get_by_text("answer to the second").wait_for()
    assert backend.bodies[-1]["messages"][-1] == {"role": "user", "content": "second chat"}

    picker = page.get_by_role("combobox", name="Chat", exact=True)
    assert picker.locator("option").all_inner_texts() == ["first chat", "second chat"]
    picker.select_option(label="first chat")
    chat.answers.get_by_text("answer to the first").wait_for()
    assert chat.answers.count() == 1
    ((aside,), shown) = python(notebook, "[chat.chats, chat.messages]")
    assert aside["messages"][0]["content"] == "second chat"
    assert shown[0]["content"] == "first chat"
    page.get_by_label("More").click()
    page.get_by_role("button", name="Delete chat").click()
    chat.answers.get_by_text("answer to the second").wait_for()
    assert python(notebook, "chat.chats") == []


def test_failures_are_told_and_can_be_tried_again(start, notebook, backend, module_visit):
    chat = start()
    backend.behave(die_between_chunks())
    chat.ask("hello")
    notice = chat.page.locator(".bodhi-notice")
    notice.wait_for()
    assert "127.0.0.1" not in notice.inner_text()
    assert "broke off" in chat.answers.last.locator(".bodhi-stats").inner_text()
    state, reason = python(notebook, "[chat.status['state'], chat.last['finish_reason']]")
    assert (state, reason) == ("failed", "failed")
    backend.behave(says("better"))
    notice.get_by_role("button", name="Try again").click()
    chat.answers.get_by_text("better").wait_for()
    assert chat.answers.count() == 1
    assert notice.is_hidden()


def test_what_was_said_can_be_copied_and_made_into_cells(start, notebook, backend):
    chat = start()
    page = chat.page
    text = "Look:\n\n```python\nx = [1,\n     2]\n```\n\nDone <img src=x onerror=alert(1)>."
    backend.behave(says(text))
    chat.ask("code please")
    chat.answers.get_by_text("Done").wait_for()
    chat.answers.get_by_role("button", name="Copy message").click()
    chat.page.locator(".bodhi-icon.bodhi-done").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == text
    page.get_by_role("button", name="Copy code").click()
    page.locator(".bodhi-code-header .bodhi-icon.bodhi-done").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "x = [1,\n     2]"

    page.get_by_role("button", name="Insert as cell below").click()
    page.locator(".jp-Notebook .jp-Cell").nth(3).wait_for()
    assert notebook.cell(1).locator(".cm-line").all_inner_texts() == ["x = [1,", "     2]"]

    page.get_by_label("More").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export to Markdown").click()
    exported = download.value.path().read_text(encoding="utf-8")
    assert exported == f"**You**\n\ncode please\n\n**fake-model**\n\n{text}\n"

    page.get_by_label("More").click()
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
        page.keyboard.press("d")
        page.keyboard.press("d")
    page.wait_for_function("document.querySelectorAll('.jp-Notebook .jp-Cell').length === 3")


def test_it_keeps_working_while_a_cell_runs(start, notebook, backend):
    chat = start()
    notebook.set_source(1, "import time; time.sleep(60)")
    notebook.run(1)
    backend.behave(says("I am *awake*."))
    chat.ask("are you there?")
    chat.answers.locator("em", has_text="awake").wait_for()
    chat.wait_for_end()
    backend.behave(never_ending(8))
    chat.ask("and can you be stopped?")
    chat.answers.get_by_text("xxxx").wait_for()
    chat.stop.click()
    eventually(backend.fake.client_left.is_set, "the generation to stop")
    chat.wait_for_end()
    assert "[*]" in notebook.cell(1).locator(".jp-InputPrompt").inner_text()
    notebook.interrupt()
    # Once the kernel is free it hears of all that.
    roles, reason = python(notebook, "[[message['role'] for message in chat.messages], chat.last['finish_reason']]")
    assert roles == ["user", "assistant"] * 2
    assert reason == "stopped"


def test_a_reload_brings_the_conversation_back(start, notebook, backend):
    chat = start()
    backend.behave(says("I *stay*."))
    chat.ask("do you stay?")
    chat.wait_for_end()
    assert python(notebook, "len(chat.messages)") == 2
    notebook.save()
    notebook.page.reload()
    notebook.wait_for_kernel()
    chat.answers.locator("em", has_text="stay").wait_for()
    assert backend.bodies[-1]["messages"][-1]["content"] == "do you stay?"
    backend.behave(says("as ever"))
    chat.ask("and you work?")
    chat.answers.get_by_text("as ever").wait_for()
    assert len(backend.bodies[-1]["messages"]) == 3


def test_where_the_page_is_not_jupyters_the_kernel_asks(start, notebook, backend):
    notebook.page.evaluate("document.querySelector('#jupyter-config-data').id = 'hidden'")
    try:
        asked: list[str] = []
        notebook.page.on("request", lambda request: asked.append(request.url))
        chat = start()
        backend.behave(says("by the *kernel*"))
        chat.ask("who asks?")
        chat.answers.locator("em", has_text="kernel").wait_for()
        chat.wait_for_end()
        backend.behave(never_ending(8))
        chat.ask("go on")
        chat.answers.get_by_text("xxxx").wait_for()
        chat.stop.click()
        eventually(backend.fake.client_left.is_set, "the generation to stop")
        chat.wait_for_end()
        assert not [url for url in asked if "/v1/" in url or "/bodhi/" in url]

        notebook.set_source(
            0,
            f"{IMPORT}\ndef nowhere():\n    raise RuntimeError('Start one with `jupyter lab`.')\n"
            "chat = ChatView(http=nowhere)\nchat",
        )
        notebook.run_to_end(0)
        notebook.page.get_by_text("Start one with `jupyter lab`.").wait_for()
        assert python(notebook, "chat.status['state']") == "no server"
    finally:
        notebook.page.evaluate("document.querySelector('#hidden').id = 'jupyter-config-data'")


def test_a_long_answer_stays_smooth(start, notebook, backend):
    chat = start()
    page = chat.page
    block = "Word after word of a sentence that goes on for a while, as **models** like to write.\n\n"
    text = block * 100
    backend.behave(says(text, pace=0.002))
    sizes: list[int] = []
    page.on("request", lambda request: "/bodhi/render" in request.url and sizes.append(len(request.post_data or "")))
    page.evaluate("""() => {
        window.paints = [];
        window.added = 0;
        let last = performance.now();
        const paint = (now) => { window.paints.push(now - last); last = now; window.raf = requestAnimationFrame(paint); };
        window.raf = requestAnimationFrame(paint);
        window.watcher = new MutationObserver((changes) => {
            for (const change of changes) for (const node of change.addedNodes) window.added += node.textContent.length;
        });
        window.watcher.observe(document.querySelector(".bodhi-log"), { childList: true, subtree: true });
    }""")
    began = time.monotonic()
    chat.ask("a long one")
    chat.wait_for_end()
    seconds = time.monotonic() - began
    page.wait_for_function("document.querySelectorAll('.bodhi-markdown strong').length === 100")
    paints = page.evaluate("() => { cancelAnimationFrame(window.raf); window.watcher.disconnect(); return window.paints; }")
    added = page.evaluate("window.added")
    print(
        f"{len(text) // 4} tokens in {seconds:.1f} s: longest time between paints {max(paints):.0f} ms, "
        f"{sum(pause > 100 for pause in paints)} above 100 ms of {len(paints)}; {len(sizes)} renderings of {sum(sizes)} bytes, "
        f"{added} characters put into the page for {len(text)}"
    )
    assert len(sizes) <= 4 * (seconds + 1) + 2
    # What is finished is neither rendered nor put into the page again.
    assert max(sizes) < len(text) / 3
    assert added < 6 * len(text)
