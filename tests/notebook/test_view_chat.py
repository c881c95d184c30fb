"""The chat in a page that the test plays: what is written, attached, undone, and shown of messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.node import run

Play = Callable[..., Any]

PAGE = Path(__file__).with_name("fake_page.js").read_text(encoding="utf-8")
BEGIN = """
const model = new FakeModel();
const session = new Session(model);
await session.connecting;
const open = () => {
  const chat = new Chat(session, null);
  document.body.append(chat.element);
  return chat;
};
const chat = open();
const { area } = chat.composer;
const last = () => model.asked().at(-1);
const texts = () => session.messages.map(textOf);
const button = (label) => chat.element.querySelector(`button[aria-label='${label}']`);
const saying = (text) => chat.element.querySelectorAll("button").find((one) => one.textContent === text);
const ask = async (text) => {
  area.value = text;
  area.dispatch("keydown", { key: "Enter" });
  await settle();
};
const answer = async (text) => {
  model.chunk(last(), delta(text) + DONE);
  model.end(last());
  await settle();
};
const refuse = async (status) => {
  model.fail(last(), "It is too long.", { status });
  await settle();
};
const NOTE = { kind: "text", name: "a.txt", text: "words" };
const PICTURE = { kind: "image", name: "image", url: "data:image/png;base64,AAAA" };
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda *scripts: run("chat.js", "\n".join([PAGE, BEGIN, *scripts]), tmp_path)


# -- what the server refuses --------------------------------------------------------------------------------------


def test_what_is_refused_comes_back_before_what_is_written_by_now(play):
    written, messages, attached, saved = play(
        "model.set('attachments', [NOTE]); await ask('a long text');",
        "area.value = 'the next'; session.set({ attachments: [PICTURE] }); await refuse(400);",
        "tell(area.value); tell(session.messages); tell(session.get('attachments').map(({ name }) => name));",
        "tell(model.saved.attachments.length);",
    )
    assert written == "a long text\n\nthe next"
    assert messages == []
    assert attached == ["a.txt", "image"]
    assert saved == 2


def test_what_is_refused_comes_back_into_an_empty_field_as_it_was(play):
    assert play("await ask('a long text'); await refuse(413); tell(area.value);") == "a long text"
