"""Several chats in one widget: how they are named, in a page that the test plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.pages import Play, player

RENAME = """
const names = () => chat.header.chats.children.map((one) => one.textContent);
const field = () => chat.element.querySelector(".bodhi-rename");
const rename = (name, key) => {
  saying("Rename chat").click();
  field().value = name;
  return field().dispatch("keydown", { key });
};
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


def test_a_chat_has_the_name_that_it_is_given(play):
    shown, saved, focused, gone = play(
        RENAME,
        "await ask('hello'); rename('  My\\n first ', 'Enter'); tell(names()); tell(model.saved.title);",
        "tell(document.activeElement === chat.header.chats); tell(field() === null && !chat.header.chats.hidden);",
    )
    assert shown == ["My first"]
    assert saved == "My first"
    assert (focused, gone) == (True, True)


def test_the_name_goes_with_its_chat(play):
    names, kept, back, title = play(
        RENAME,
        "await ask('one'); await answer('yes'); rename('First', 'Enter'); session.chats.begin();",
        "tell(names()); tell(model.saved.chats.map(({ title }) => title));",
        "session.chats.open(session.get('chats')[0]); tell(names()); session.chats.remove(); session.undo();",
        "tell(session.get('title'));",
    )
    assert names == ["First", "New chat"]
    assert kept == ["First"]
    assert back == ["First"]
    assert title == "First"


def test_escape_leaves_the_name_and_does_not_stop_the_answer(play):
    names, busy, gone = play(
        RENAME,
        "await ask('hello'); rename('Other', 'Escape'); tell(names()); tell(session.isBusy); tell(field() === null);",
    )
    assert names == ["hello"]
    assert (busy, gone) == (True, True)


def test_without_a_name_it_is_called_by_its_first_question_again(play):
    hint, names = play(
        RENAME,
        "await ask('hello'); rename('Other', 'Enter'); saying('Rename chat').click();",
        "tell(field().getAttribute('placeholder'));",
        "field().value = '   '; field().dispatch('keydown', { key: 'Enter' }); tell(names());",
    )
    assert hint == "hello"
    assert names == ["hello"]


def test_who_writes_a_name_and_clicks_elsewhere_has_given_it(play):
    names = play(
        RENAME,
        "await ask('hello'); saying('Rename chat').click(); field().value = 'Other'; area.focus();",
        "field().dispatch('blur'); tell(names());",
    )
    assert names == ["Other"]


def test_what_is_not_changed_stays_its_first_question(play):
    title, composing = play(
        RENAME,
        "await ask('hello'); saying('Rename chat').click(); field().dispatch('keydown', { key: 'Enter' });",
        "tell(session.get('title')); saying('Rename chat').click();",
        "field().dispatch('keydown', { key: 'Enter', isComposing: true }); tell(field() !== null);",
    )
    assert title == ""
    assert composing is True


def test_a_long_name_is_changed_as_a_whole(play):
    whole = play(RENAME, "session.set({ title: 'x'.repeat(60) }); saying('Rename chat').click(); tell(field().value);")
    assert whole == "x" * 60


def test_by_f2_in_the_list(play):
    assert play(RENAME, "chat.header.chats.dispatch('keydown', { key: 'F2' }); tell(field() !== null);") is True


def test_a_chat_that_another_page_opened_meanwhile_is_not_renamed(play):
    titles = play(
        RENAME,
        "await ask('hello'); await answer('yes'); saying('Rename chat').click(); field().value = 'Other';",
        "session.chats.begin(); field().dispatch('keydown', { key: 'Enter' });",
        "tell([session.get('title'), ...session.get('chats').map(({ title }) => title)]);",
    )
    assert titles == ["", ""]


def test_a_name_is_no_html_and_is_cut_where_it_is_long(play):
    names = play(
        RENAME,
        "session.set({ title: '<img src=x onerror=alert(1)>', chats: [{ id: '0', title: 'x'.repeat(60) }] });",
        "tell(names());",
    )
    assert names == ["x" * 39 + "…", "<img src=x onerror=alert(1)>"]


def test_a_named_chat_is_kept_while_it_is_empty(play):
    names = play(RENAME, "rename('Plans', 'Enter'); session.chats.begin(); tell(names());")
    assert names == ["Plans", "New chat"]
