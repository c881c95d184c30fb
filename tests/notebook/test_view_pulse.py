"""The browser's side of the beats, in a page that the test plays: when the kernel is asked for news, and when not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.node import run

Play = Callable[..., Any]

PAGE = Path(__file__).with_name("fake_page.js").read_text(encoding="utf-8")
#: `pass` lets seconds go by; `look` says whether the widget can be seen.
BEGIN = """
let now = 0;
performance.now = () => now;
let beat;
globalThis.setInterval = (task) => { beat = task; };
let look;
globalThis.IntersectionObserver = class {
  constructor(told) { look = (isIntersecting) => told([{ isIntersecting }]); }
  observe() {}
};
const pass = (seconds) => {
  for (let count = 0; count < seconds; count += 2) { now += 2000; beat(); }
  return model.asked("beat").length;
};
const model = new FakeModel({ seconds: 2 });
const answer = () => model.trigger("msg:custom", { kind: "answered" });
render({ model, el: document.createElement("div") });
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda *scripts: run("pulse.js", "\n".join([PAGE, BEGIN, *scripts]), tmp_path)


def test_one_answer_is_waited_for_while_the_widget_can_be_seen(play):
    unseen, waiting, answered, hidden = play(
        "tell(pass(10)); look(true); tell(pass(10)); answer(); tell(pass(2));",
        "answer(); document.hidden = true; tell(pass(60));",
    )
    assert (unseen, waiting, answered, hidden) == (0, 1, 2, 2)


def test_an_answer_that_was_lost_is_not_waited_for_for_ever(play):
    early, late, after = play("look(true); tell(pass(28)); tell(pass(6)); answer(); tell(pass(2));")
    assert (early, late, after) == (1, 2, 3)
