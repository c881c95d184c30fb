"""What tests of a chat's elements begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.notebook.node import run

Play = Callable[..., Any]

PAGE = Path(__file__).with_name("fake_page.js").read_text(encoding="utf-8")
BEGIN = """
const model = new FakeModel();
const session = new Session(model);
await session.connection.connecting;
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
#: A picture of so many megabytes, which nothing here can draw; files are read as a browser does.
FILES = """
globalThis.FileReader = class {
  async readAsDataURL(blob) {
    const data = Buffer.from(await blob.arrayBuffer()).toString("base64");
    this.result = `data:${blob.type};base64,${data}`;
    this.onload();
  }
};
globalThis.createImageBitmap = async () => { throw new Error("This is no picture."); };
const photo = (megabytes, name = "photo.jpg") =>
  new File([new Uint8Array(megabytes * 2 ** 20)], name, { type: "image/jpeg" });
const attached = () => session.get("attachments").map(({ name }) => name);
const notice = () => (chat.notices.notice.hidden ? "" : chat.notices.notice.textContent);
"""


def player(folder: Path) -> Play:
    """Runs scripts behind `PAGE` and `BEGIN`, and gives what they tell."""
    return lambda *scripts: run("chat.js", "\n".join([PAGE, BEGIN, *scripts]), folder)
