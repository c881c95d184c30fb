"""The list of models in a page that the test plays: its keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebook.node import run

Play = Callable[..., Any]

PAGE = Path(__file__).with_name("fake_page.js").read_text(encoding="utf-8")
BEGIN = """
let now = 0;
performance.now = () => now;
const NONE = { state: "", mark: "", reason: "", alias_of: "", defaults: "", description: "" };
const row = (name) => ({ ...NONE, name, capabilities: [] });
const names = ["default", "gemma", "guide", "llama", "Guava"];
const model = new FakeModel({ rows: names.map(row), selected: "", empty: "" });
const el = document.createElement("div");
document.body.append(el);
render({ model, el });
const list = el.querySelector(".bodhi-ui-list");
const press = (...keys) => keys.map((key) => (list.dispatch("keydown", { key }), model.get("selected")));
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda *scripts: run("model_table.js", "\n".join([PAGE, BEGIN, *scripts]), tmp_path)


def test_letters_look_for_a_name(play):
    together, apart, again, unknown = play(
        "tell(press('g', 'u')); now += 5000; tell(press('l')); now += 5000; tell(press('g', 'g', 'g'));",
        "now += 5000; tell(press('z', 'd'));",
    )
    assert together == ["gemma", "guide"]
    assert apart == ["llama"]
    assert again == ["Guava", "gemma", "guide"]
    assert unknown == ["guide", "guide"]


def test_names_that_begin_with_a_doubled_letter_are_found(play):
    llava, llama, lamini = play(
        "model.set('rows', ['gemma', 'lamini', 'llama-3', 'llava', 'qwen'].map(row));",
        "tell(press('l', 'l', 'a', 'v', 'a')); now += 5000; tell(press('l', 'l', 'a', 'm')); now += 5000;",
        "tell(press('l', 'a', 'm'));",
    )
    assert llava == ["lamini", "llama-3", "llama-3", "llava", "llava"]
    assert llama[-1] == "llama-3"
    assert lamini[-1] == "lamini"


def test_without_its_kernel_it_does_not_say_that_it_looks_for_models(play):
    looking, ended, with_rows = play(
        "const empty = el.querySelector('.bodhi-ui-empty'); model.set('rows', []); model.set('empty', 'Looking …');",
        "tell(empty.textContent); model.set('layout', { comm_live: false }); model.trigger('comm_live_update');",
        "await settle(); tell(empty.textContent); model.set('rows', [row('a')]); tell(empty.textContent);",
    )
    assert looking == "Looking …"
    assert ended == "Nothing is known of the models."
    assert with_rows == ""


@pytest.mark.parametrize(("key", "is_stopped"), [({}, True), ({"ctrlKey": True}, False)], ids=["x", "Control"])
def test_no_letter_is_a_command_of_jupyterlabs(play, key, is_stopped):
    suppressed, stopped, prevented = play(
        "tell(el.dataset.lmSuppressShortcuts);",
        f"const pressed = list.dispatch('keydown', {{ key: 'x', ...{json.dumps(key)} }});",
        "tell(pressed.isStopped); tell(pressed.isPrevented);",
    )
    assert (suppressed, stopped, prevented) == ("true", is_stopped, False)
