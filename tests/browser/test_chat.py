"""A person chats in JupyterLab: clicks, keys, and what Python sees of it."""

from __future__ import annotations

import re
import time

import pytest

from tests.browser.scripted import says
from tests.fakes.behaviours import die_between_chunks, never_ending, stall_mid_stream
from tests.live.server import eventually

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


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
    assert re.fullmatch(
        r"8 tokens · 41 tokens/s · first after \d+\.\d\d s", answer.locator(".bodhi-stats").inner_text()
    )
    assert chat.page.locator(".bodhi-meter").inner_text().strip() == "38 of 4,096 tokens of context"

    notebook.wait_for_value(1, "[chat.status['state'], len(chat.messages)]", ["ready", 2])
    last, messages = notebook.value(1, "[chat.last, chat.messages]")
    assert last["text"] == "**Bold** and `code`.\n\nThe end."
    assert (last["prompt_tokens"], last["completion_tokens"], last["finish_reason"]) == (30, 8, "stop")
    assert last["tokens_per_second"] == 41.3
    assert last["first_token_seconds"] > 0
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[1]["reasoning"] == "First I think."
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


def test_enter_sends_and_shift_enter_does_not(start, notebook, backend):
    chat = start()
    backend.behave(says("fine"))
    before = notebook.prompts()
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
    assert notebook.prompts() == before


ENDLESS = {"flood": never_ending(8), "drip": says("xxxx" * 100_000, pace=0.02)}


@pytest.mark.parametrize(("by", "endless"), [("click", "flood"), ("click", "drip"), ("Escape", "drip")])
def test_stop_stops_the_generation(start, notebook, backend, by, endless):
    chat = start()
    backend.behave(ENDLESS[endless])
    chat.ask("go on for ever")
    chat.answers.get_by_text("xxxx").first.wait_for()
    began = time.monotonic()
    if by == "click":
        chat.stop.click()
    else:
        chat.message.press("Escape")
    eventually(backend.fake.client_left.is_set, "the generation to stop")
    print(f"stopped {1000 * (time.monotonic() - began):.0f} ms after the {by} in a {endless}")
    chat.wait_for_end()

    assert "stopped" in chat.answers.last.locator(".bodhi-stats").inner_text()
    assert chat.send.is_visible()
    notebook.wait_for_value(1, "chat.last.get('finish_reason')", "stopped")
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
    assert page.locator(".bodhi-message[data-role='user'] .bodhi-plain").inner_text() == "first"
    undo.click()
    chat.answers.get_by_text("one").wait_for()

    notebook.wait_for_value(1, "[message['content'] for message in chat.messages]", ["first", "one"])
    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Clear chat").click()
    page.locator(".bodhi-message").first.wait_for(state="detached")
    notebook.wait_for_value(1, "chat.messages", [])
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
    told = "[chat.parameters.get('temperature'), chat.system, chat.model]"
    notebook.wait_for_value(1, told, [0.5, "Be short.", "tutor"])

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
        "chat.model = 'guide'; chat.parameters = {'temperature': 0.125, 'top_k': 9}\n"
        "chat.messages = [{'role': 'user', 'content': 'from Python'}, {'role': 'assistant', 'content': '*yes*'}]",
    )
    notebook.run_to_end(1)
    chat.answers.locator("em", has_text="yes").wait_for()
    assert chat.model.input_value() == "guide"
    chat.page.get_by_role("button", name="Settings").click()
    assert chat.page.get_by_label("Temperature").input_value() == "0.125"
    assert chat.page.get_by_label("System prompt").input_value() == "Be kind."
    assert chat.page.get_by_text("top_k: 9").is_visible()


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
    beginnings = (
        "[[one['messages'][0]['content'] for one in chat.chats], [one['content'] for one in chat.messages][:1]]"
    )
    notebook.wait_for_value(1, beginnings, [["second chat"], ["first chat"]])
    page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Delete chat").click()
    chat.answers.get_by_text("answer to the second").wait_for()
    notebook.wait_for_value(1, "chat.chats", [])


def test_who_leaves_an_answer_is_told_and_can_go_back(start, notebook, backend, module_visit):
    chat = start()
    backend.behave(stall_mid_stream())
    chat.ask("tell me a story")
    chat.answers.locator(".bodhi-body p").wait_for()
    chat.page.get_by_role("button", name="New chat").click()
    told = chat.page.get_by_role("status").filter(has_text="“tell me a story” was stopped")
    told.wait_for()
    module_visit.screenshot("left-chat")
    assert chat.page.locator(".bodhi-message").count() == 0
    told.get_by_role("button", name="Go back").click()
    assert chat.answers.locator(".bodhi-body").inner_text().strip()
    assert "stopped" in chat.answers.locator(".bodhi-stats").inner_text()
    assert told.is_hidden()


def test_a_chat_is_renamed_by_keys(start, notebook, backend):
    chat = start()
    keyboard = chat.page.keyboard
    backend.behave(says("fine"))
    chat.ask("first question")
    chat.wait_for_end()
    picker = chat.page.get_by_role("combobox", name="Chat", exact=True)
    chat.page.get_by_label("More", exact=True).focus()
    keyboard.press("Enter")
    keyboard.press("Tab")
    assert chat.page.evaluate("document.activeElement.textContent") == "Rename chat"
    keyboard.press("Enter")
    # In the place of what was selected; letters are no commands.
    keyboard.type("dd <b>x</b>")
    keyboard.press("Enter")
    picker.wait_for()
    assert picker.locator("option").all_inner_texts() == ["dd <b>x</b>"]
    notebook.wait_for_value(1, "chat.title", "dd <b>x</b>")
    picker.focus()
    keyboard.press("F2")
    keyboard.press("Delete")
    keyboard.press("Enter")
    picker.wait_for()
    assert picker.locator("option").all_inner_texts() == ["first question"]


def test_failures_are_told_and_can_be_tried_again(start, notebook, backend, module_visit):
    chat = start()
    backend.behave(die_between_chunks())
    chat.ask("hello")
    notice = chat.page.locator(".bodhi-notice:not(.bodhi-ended)")
    notice.wait_for()
    assert "127.0.0.1" not in notice.inner_text()
    assert "broke off" in chat.answers.last.locator(".bodhi-stats").inner_text()
    notebook.wait_for_value(1, "[chat.status['state'], chat.last.get('finish_reason')]", ["failed", "failed"])
    backend.behave(says("better"))
    notice.get_by_role("button", name="Try again").click()
    chat.answers.get_by_text("better").wait_for()
    assert chat.answers.count() == 1
    assert notice.is_hidden()
