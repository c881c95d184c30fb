"""Two pages that show one chat: what one writes the other sees, and who is gone writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.sessions import ASK, HALF_CALL, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


#: A kernel that tells each page what the others changed, and passes on what they say; `isBusy` holds it back.
KERNEL = """
const pages = [model];
let isBusy = false;
const held = [];
const kernel = (task) => (isBusy ? held.push(task) : queueMicrotask(task));
const free = async () => {
  isBusy = false;
  held.splice(0).forEach((task) => task());
  await settle();
};
const join = (page) => {
  pages.push(page);
  for (const one of pages) {
    one.told = { ...one.values };
    one.save_changes = () => {
      const changed = Object.entries(one.values).filter(([name, value]) => value !== one.told[name]);
      one.told = { ...one.values };
      one.saved = structuredClone(one.values);
      const copies = structuredClone(Object.fromEntries(changed));
      for (const other of pages) if (other !== one && changed.length) kernel(() => hear(other, copies));
    };
    one.send = (message) => {
      FakeModel.prototype.send.call(one, message);
      if (["who_writes", "stop_writing"].includes(message.kind))
        kernel(() => pages.forEach((other) => other.trigger("msg:custom", message)));
    };
  }
};
// As a page hears of it: all values are there before the first change is told.
const hear = (page, values) => {
  const isNews = ([name, value]) => JSON.stringify(value) !== JSON.stringify(page.values[name]);
  const news = Object.entries(values).filter(isNews);
  Object.assign(page.values, structuredClone(Object.fromEntries(news)));
  Object.assign(page.told, page.values);
  for (const [name] of news) page.trigger(`change:${name}`);
};
const next = new FakeModel(structuredClone(model.values));
"""
OPEN = """
Object.assign(next.values, structuredClone(model.values));
join(next);
const second = new Session(next);
await second.connection.connecting;
await settle();
const seen = () => second.messages.map(textOf);
"""
TWO = KERNEL + OPEN
END = "model.chunk(last(), delta(' Found.') + DONE); model.end(last()); await settle();"


def test_a_page_that_is_opened_sees_the_answer_that_another_one_writes(play):
    states, there, after, same, asked = play(
        HALF_CALL,
        TWO,
        "tell([second.status.state, second.isBusy, seen()]);",
        "await pass(3000); tell([second.status.state, seen()]);",
        END,
        "tell([second.status.state, second.isBusy, seen(), session.status.state]);",
        "tell(JSON.stringify(second.messages) === JSON.stringify(session.messages)); tell(next.asked().length);",
    )
    assert states == ["answering", True, ["hello", "I look."]]
    assert there == ["answering", ["hello", "I look."]]
    assert after == ["ready", False, ["hello", "I look. Found."], "ready"]
    assert (same, asked) == (True, 0)


def test_a_page_that_is_there_sees_an_answer_begin_grow_and_end(play):
    began, grew, ended, undo = play(
        "performance.now = () => clock; let clock = 0;",
        TWO,
        ASK,
        "tell([second.status.state, seen()]); const added = [];",
        "second.subscribe((what, detail) => what === 'delta' && added.push(detail.content));",
        "for (const text of ['One', ' two', ' three']) {",
        "  model.chunk(last(), delta(text)); await settle(); clock += 3000; }",
        "tell([seen(), [...added]]);",
        END,
        "tell([second.status, seen()]); second.undo(); await settle(); tell([seen(), session.messages.length]);",
    )
    # As in the page that asked: an answer without a word yet.
    assert began == ["answering", ["hello", ""]]
    assert grew == [["hello", "One two three"], ["One", " two", " three"]]
    assert ended == [{"state": "ready", "detail": "", "code": 0}, ["hello", "One two three Found."]]
    # One step: of the question, and not of the answer's end.
    assert undo == [[], 0]


def test_before_the_first_word_it_is_running_too(play):
    before, after = play(
        ASK,
        TWO,
        "await pass(3000); tell([second.status.state, second.isBusy]);",
        "model.chunk(last(), delta('here') + DONE); model.end(last()); await settle(); tell(seen());",
    )
    assert before == ["answering", True]
    assert after == ["hello", "here"]


def test_a_page_that_is_left_writes_no_more(play):
    before, after, reason, again = play(
        HALF_CALL,
        TWO,
        "pages.shift(); await pass(10_000); tell(second.status.state);",
        "await pass(3000); tell([second.status.state, second.status.detail]);",
        "tell(second.messages.at(-1).stats.finish_reason);",
        "second.retry(); await settle(); tell(next.asked().length);",
    )
    assert before == "answering"
    assert after == ["failed", "The page was left before the answer ended."]
    assert reason == "failed"
    assert again == 1


def test_while_the_kernel_is_busy_nobody_is_given_up(play):
    waiting, after = play(
        HALF_CALL,
        KERNEL,
        "isBusy = true;",
        OPEN,
        "await pass(60_000); tell(second.status.state);",
        "await free(); await pass(3000);",
        "tell([second.status.state, seen()]);",
    )
    assert waiting == "answering"
    assert after == ["answering", ["hello", "I look."]]


def test_who_was_given_up_and_is_heard_again_writes(play):
    lost, found, ended = play(
        "performance.now = () => clock; let clock = 0;",
        HALF_CALL,
        TWO,
        "pages.shift(); await pass(10_000); await pass(3000); tell(second.status.state);",
        "pages.unshift(model); clock += 3000; model.chunk(last(), delta(' Wait.')); await settle();",
        "tell([second.status.state, seen()]);",
        END,
        "tell([second.status.state, seen()]);",
    )
    assert lost == "failed"
    assert found == ["answering", ["hello", "I look. Wait."]]
    assert ended == ["ready", ["hello", "I look. Wait. Found."]]


@pytest.mark.parametrize(
    ("begin", "words"), [(ASK, ["hello"]), (HALF_CALL, ["hello", "I look."])], ids=["no word", "some"]
)
def test_either_page_stops_it(play, begin, words):
    states, both, ends, cancelled = play(
        begin,
        TWO,
        "second.interrupt(); await settle(); tell([session.status.state, second.status.state, second.isBusy]);",
        "tell([session.messages.map(textOf), seen()]);",
        "tell(second.messages.map(({ stats }) => stats?.finish_reason ?? '')); tell(model.asked('cancel').length);",
    )
    assert states == ["ready", "ready", False]
    assert both == [words, words]
    assert ends == ["", "stopped"][: len(words)]
    assert cancelled == 1


def test_who_asks_something_else_in_one_page_ends_the_answer_of_the_other(play):
    first, second, asked = play(
        HALF_CALL,
        TWO,
        "second.chats.begin(); await settle(); second.send('else'); await settle();",
        "tell([session.status.state, session.running, session.messages.map(textOf)]);",
        "next.chunk(next.asked().at(-1), delta('Yes.') + DONE); next.end(next.asked().at(-1)); await settle();",
        "tell([session.status.state, session.messages.map(textOf), seen()]);",
        "tell([model.asked().length, next.asked().length]);",
    )
    assert first == ["answering", None, ["else", ""]]
    assert second == ["ready", ["else", "Yes."], ["else", "Yes."]]
    assert asked == [1, 1]


def test_what_failed_in_one_page_can_be_tried_again_in_the_other(play):
    states, sent = play(
        ASK,
        TWO,
        "model.fail(last(), 'It is full.', { status: 503 }); await settle();",
        "tell([session.status.state, second.status.state, second.status.detail === session.status.detail]);",
        "second.retry(); await settle(); tell(next.asked().length);",
    )
    assert states == ["failed", "failed", True]
    assert sent == 1


def test_a_closed_view_of_one_page_does_not_stop_the_other(play):
    (state,) = play(HALF_CALL, TWO, "second.close(); await settle(); tell([session.status.state]);")
    assert state == "answering"


def test_without_a_kernel_nobody_is_heard_any_more(play):
    state = play(HALF_CALL, TWO, "second.endKernel(); tell(second.status.state);")
    assert state == "failed"
