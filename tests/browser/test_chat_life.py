"""A chat while the kernel is busy, after a reload, without Jupyter's page, and over a long answer."""

from __future__ import annotations

import threading
import time

import pytest

from tests.browser.conftest import IMPORT, SCREENSHOTS
from tests.browser.notebook_page import ChatPage
from tests.browser.scripted import says, says_in_two
from tests.live.server import eventually

#: Notes the times between paints, and how much text is put into the page.
WATCH = """() => {
    const paints = [];
    let last = performance.now();
    let frame = requestAnimationFrame(function paint(now) {
        paints.push(now - last);
        last = now;
        frame = requestAnimationFrame(paint);
    });
    window.added = 0;
    const watcher = new MutationObserver((changes) => {
        for (const change of changes) for (const node of change.addedNodes) window.added += node.textContent.length;
    });
    watcher.observe(document.querySelector(".bodhi-log"), { childList: true, subtree: true });
    window.stopWatching = () => {
        cancelAnimationFrame(frame);
        watcher.disconnect();
        return paints;
    };
}"""

ENDLESS = says("xxxx " * 100_000, pace=0.02)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_it_keeps_working_while_a_cell_runs(start, notebook, backend):
    chat = start()
    notebook.set_source(1, "import time; time.sleep(600)")
    notebook.run(1)
    backend.behave(says("I am *awake*."))
    chat.ask("are you there?")
    chat.answers.locator("em", has_text="awake").wait_for()
    chat.wait_for_end()
    backend.behave(ENDLESS)
    chat.ask("and can you be stopped?")
    chat.answers.get_by_text("xxxx").wait_for()
    chat.stop.click()
    eventually(backend.fake.client_left.is_set, "the generation to stop")
    chat.wait_for_end()
    assert "[*]" in notebook.cell(1).locator(".jp-InputPrompt").inner_text()
    notebook.interrupt()
    # Once the kernel is free it hears of all that.
    told = "[[message['role'] for message in chat.messages], chat.last.get('finish_reason')]"
    notebook.wait_for_value(1, told, [["user", "assistant"] * 2, "stopped"])


def test_closing_it_in_python_ends_its_answer(start, notebook, backend):
    chat = start()
    backend.behave(ENDLESS)
    chat.ask("go on")
    chat.answers.get_by_text("xxxx").wait_for()
    notebook.set_source(1, "chat.close()")
    notebook.run_to_end(1)
    eventually(backend.fake.client_left.is_set, "the generation to stop")
    chat.message.wait_for(state="detached")


def test_a_reload_brings_the_conversation_back(start, notebook, backend):
    chat = start()
    backend.behave(says("I *stay*."))
    chat.ask("do you stay?")
    chat.wait_for_end()
    notebook.wait_for_value(1, "len(chat.messages)", 2)
    notebook.save()
    notebook.page.reload()
    notebook.wait_for_kernel()
    chat.answers.locator("em", has_text="stay").wait_for()
    assert backend.bodies[-1]["messages"][-1]["content"] == "do you stay?"
    backend.behave(says("as ever"))
    chat.ask("and you work?")
    chat.answers.get_by_text("as ever").wait_for()
    assert len(backend.bodies[-1]["messages"]) == 3


def test_the_notebooks_file_holds_nothing_of_the_chat(start, notebook, backend, scripted_lab):
    chat = start()
    backend.behave(says("as *secret* as can be"))
    chat.ask("something confidential?")
    chat.answers.locator("em", has_text="secret").wait_for()
    chat.wait_for_end()
    notebook.set_source(1, "1")
    notebook.save()

    file = (scripted_lab.root / "test_chat_life.ipynb").read_text(encoding="utf-8")
    assert "ChatView" in file
    assert "confidential" not in file
    assert "secret" not in file


def test_a_reload_in_the_middle_of_an_answer_keeps_what_had_come(start, notebook, backend):
    chat = start()
    backend.behave(ENDLESS)
    chat.ask("go on")
    chat.answers.get_by_text("xxxx").wait_for()
    notebook.wait_for_value(1, "'xxxx' in chat.growing.get('content', '')", True)
    notebook.save()
    notebook.page.reload()
    notebook.wait_for_kernel()
    chat.answers.get_by_text("xxxx").wait_for()
    chat.answers.get_by_text("broke off").wait_for()
    backend.behave(says("from the *start*"))
    notebook.page.get_by_role("button", name="Try again").click()
    chat.answers.locator("em", has_text="start").wait_for()
    assert [message["role"] for message in backend.bodies[-1]["messages"]] == ["user"]


def test_a_second_page_sees_the_answer_and_can_stop_it(start, notebook, module_visit, backend):
    chat = start()
    backend.behave(ENDLESS)
    chat.ask("go on")
    chat.answers.get_by_text("xxxx").wait_for()
    # From within the chat.
    notebook.save()
    with module_visit.page.context.new_page() as page:
        page.goto(notebook.page.url)
        there = ChatPage(page)
        there.answers.get_by_text("xxxx").wait_for()
        words = len(there.answers.inner_text())
        # Longer than it waits for a page that was left.
        page.wait_for_function(
            "words => document.querySelector('.bodhi-log').innerText.length > words + 100", arg=words
        )
        page.wait_for_timeout(4000)
        page.screenshot(path=SCREENSHOTS / "second_page.png")
        assert there.answers.get_by_text("broke off").count() == 0
        assert page.get_by_role("button", name="Try again").count() == 0
        there.stop.click()
        eventually(backend.fake.client_left.is_set, "the generation to stop")
        for one in (chat, there):
            one.answers.get_by_text("stopped").wait_for()
        # What the first page had by then.
        assert there.answers.locator(".bodhi-body").inner_text() == chat.answers.locator(".bodhi-body").inner_text()


def test_where_the_page_is_not_jupyters_the_kernel_asks(start, notebook, backend):
    notebook.page.evaluate("document.querySelector('#jupyter-config-data').id = 'hidden'")
    try:
        chat = start()
        # From here on: the chat that was here before may have asked for its last rendering meanwhile.
        asked: list[str] = []
        notebook.page.on("request", lambda request: asked.append(request.url))
        backend.behave(says("by the *kernel*"))
        chat.ask("who asks?")
        chat.answers.locator("em", has_text="kernel").wait_for()
        chat.wait_for_end()
        backend.behave(ENDLESS)
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
        notebook.page.locator(".bodhi-notice", has_text="Start one with `jupyter lab`.").wait_for()
        notebook.wait_for_value(1, "chat.status['state']", "no server")
    finally:
        notebook.page.evaluate("document.querySelector('#hidden').id = 'jupyter-config-data'")


def test_the_engine_in_the_box_answers(start, notebook):
    chat = start("parameters={'max_tokens': 24}")
    # The box is the last of the sources.
    names = chat.model.locator("option").all_inner_texts()
    # A model that makes vectors is not for chats.
    assert "guide-embed" not in names
    chat.model.select_option(names[-1])
    chat.ask("hello")
    chat.answers.last.locator(".bodhi-stats", has_text="tokens/s").wait_for()
    notebook.wait_for_value(1, "[chat.status['state'], len(chat.messages)]", ["ready", 2])
    last, messages = notebook.value(1, "[chat.last, chat.messages]")
    assert last["model"] == names[-1]
    assert 0 < last["completion_tokens"] <= 24
    assert messages[-1]["content"] == last["text"] != ""


def test_dots_stand_for_an_answer_until_its_first_word(start, backend):
    chat = start()
    page = chat.page
    go_on = threading.Event()
    backend.behave(says_in_two("", "Here I am.", go_on))
    tail = "document.querySelector('.bodhi-log > :last-child .bodhi-tail')"
    dots = f"getComputedStyle({tail}, '::before').content"
    moving = f"{tail}.getAnimations({{ subtree: true }}).length"
    try:
        chat.ask("are you there?")
        chat.stop.wait_for()
        page.wait_for_function(f"{dots} === '\"\"' && {moving} === 1")
        page.emulate_media(reduced_motion="reduce")
        page.wait_for_function(f"{dots} === '\"\"' && {moving} === 0")
    finally:
        page.emulate_media(reduced_motion="no-preference")
        go_on.set()
    chat.wait_for_end()
    assert page.evaluate(dots) == "none"


def test_the_end_stays_in_sight_for_who_has_not_left_it(start, backend):
    chat = start()
    page = chat.page
    code = "One.\n\n```python\n" + "x = 1\n" * 60 + "```\n\n"
    backend.behave(says(code + "The end.", size=200))
    chat.ask("much at once")
    chat.wait_for_end()
    page.wait_for_function(
        "(() => { const log = document.querySelector('.bodhi-log');"
        " return document.querySelector('.bodhi-code-header')"
        " && log.scrollTop + log.clientHeight > log.scrollHeight - 5; })()"
    )

    go_on = threading.Event()
    backend.behave(says_in_two(code * 2, code, go_on))
    chat.ask("and more")
    # Code has it when it is whole.
    chat.answers.nth(1).locator(".bodhi-code-header").first.wait_for()
    chat.log.evaluate("log => { log.scrollTop = 0; }")
    go_on.set()
    chat.wait_for_end()
    page.wait_for_function("document.querySelectorAll('.bodhi-code-header').length === 4")
    assert chat.log.evaluate("log => log.scrollTop") == 0


def test_a_long_answer_stays_smooth(start, notebook, backend):
    chat = start()
    page = chat.page
    block = "Word after word of a sentence that goes on for a while, as **models** like to write.\n\n"
    text = block * 100
    backend.behave(says(text, pace=0.002))
    sizes: list[int] = []
    page.on("request", lambda request: "/bodhi/render" in request.url and sizes.append(len(request.post_data or "")))
    page.evaluate(WATCH)
    began = time.monotonic()
    chat.ask("a long one")
    chat.wait_for_end()
    seconds = time.monotonic() - began
    page.wait_for_function("document.querySelectorAll('.bodhi-markdown strong').length === 100")
    paints = page.evaluate("window.stopWatching()")
    added = page.evaluate("window.added")
    print(
        f"{len(text) // 4} tokens in {seconds:.1f} s: longest time between paints {max(paints):.0f} ms, "
        f"{sum(pause > 100 for pause in paints)} above 100 ms of {len(paints)}; "
        f"{len(sizes)} renderings of {sum(sizes)} bytes, {added} characters put into the page for {len(text)}"
    )
    assert len(sizes) <= 4 * (seconds + 1) + 2
    # What is finished is neither rendered nor put into the page again: only the last block is, each time.
    unfinished = 2 * len(block) * len(sizes)
    assert sum(sizes) < len(text) + unfinished + 64 * len(sizes)
    assert added < 4 * len(text) + unfinished
