"""The chat in a page that the test plays: what is written, attached, undone, and shown of messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.notebook.pages import FILES, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


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


# -- keys ---------------------------------------------------------------------------------------------------------


def test_what_is_pressed_in_the_conversation_is_no_command_of_jupyterlabs(play):
    letter, control = play(
        "tell(chat.log.element.dispatch('keydown', { key: 'd' }).isStopped);",
        "tell(chat.log.element.dispatch('keydown', { key: 's', ctrlKey: true }).isStopped);",
    )
    assert (letter, control) == (True, False)


@pytest.mark.parametrize("key", ["{ key: 's', ctrlKey: true }", "{ key: 's', metaKey: true }"])
def test_the_notebook_is_saved_from_within_the_chat(play, key):
    saved, prevented, without, others = play(
        "let saved = 0; const manager = { context: { save: () => (saved += 1) } };",
        "const press = (one, key) => one.composer.area.dispatch('keydown', key).isPrevented;",
        f"const there = new Chat(session, manager); const isPrevented = press(there, {key});",
        f"tell(saved); tell(isPrevented); tell(press(chat, {key}));",
        "press(there, { key: 's' }); press(there, { key: 's', ctrlKey: true, shiftKey: true }); tell(saved);",
    )
    assert (saved, prevented) == (1, True)
    # A page that saves in another way, or not at all.
    assert without is False
    assert others == 1


def test_escape_that_leaves_a_composition_does_not_stop_the_answer(play):
    during, after = play(
        "await ask('one'); area.dispatch('keydown', { key: 'Escape', isComposing: true }); tell(session.isBusy);",
        "area.dispatch('keydown', { key: 'Escape' }); tell(session.isBusy);",
    )
    assert (during, after) == (True, False)


@pytest.mark.parametrize(
    ("fail", "way"),
    [
        ("await ask('one'); await refuse(503);", "Try again"),
        (
            "model.hasServer = false; session.connection.transport = null; await session.connection.connect();",
            "Look again",
        ),
    ],
    ids=["failed", "no server"],
)
def test_another_complaint_leaves_the_way_on(play, fail, way):
    notice, ways = play(
        FILES,
        f"{fail} await chat.insert([{{ type: 'code', source: '1' }}]);",
        f"tell(notice()); tell(Boolean(saying('{way}')));",
    )
    assert notice.startswith("This page does not let the chat add cells.")
    assert ways is True


# -- copying ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clipboard", "command", "copied"),
    [("writes", False, ["clipboard", True]), ("refuses", True, ["page", True]), ("refuses", False, ["", False])],
    ids=["allowed", "forbidden", "and nothing else"],
)
def test_where_the_clipboard_is_forbidden_the_page_copies_or_says_so(play, clipboard, command, copied):
    way, is_done, notice = play(
        f"let way = ''; const refuses = {json.dumps(clipboard == 'refuses')};",
        "const writeText = async () => { if (refuses) throw new Error('Not allowed.'); way = 'clipboard'; };",
        "Object.defineProperty(globalThis, 'navigator', { value: { clipboard: { writeText } }, configurable: true });",
        f"document.execCommand = () => {{ if ({json.dumps(command)}) way = 'page'; return {json.dumps(command)}; }};",
        "await ask('one'); await answer('two');",
        "const copy = button('Copy message'); copy.focus(); copy.click(); await settle();",
        "tell(way); tell(copy.classList.contains('bodhi-done')); tell(chat.notices.notice.textContent);",
    )
    assert [way, is_done] == copied
    assert ("may not use the clipboard" in notice) is not is_done


def test_a_message_without_a_text_cannot_be_copied(play):
    copies = play(
        "const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };",
        "const called = { role: 'assistant', content: '', tool_calls: [call], stats: { completion_tokens: 3 } };",
        "session.show([{ role: 'user', content: 'go' }, called]);",
        "tell(chat.log.views.map(({ element }) => element.querySelectorAll(\"[aria-label='Copy message']\").length));",
    )
    assert copies == [1, 0]


def test_who_cannot_see_the_dots_hears_that_an_answer_is_made(play):
    words = play(
        "await ask('one'); tell(chat.announcer.textContent);",
        "await answer('yes'); tell(chat.announcer.textContent);",
    )
    assert words == ["The model answers …", ""]


def test_an_answer_is_headed_by_the_name_of_its_model_as_soon_as_that_is_known(play):
    listed, told, unlisted = play(
        "const name = () => chat.log.views.at(-1).name.textContent;",
        "session.set({ models: [{ id: 'default', stands_for: 'qwen' }] });",
        "await ask('one'); tell(name());",
        "model.chunk(last(), event({ model: 'tutor', choices: [{ delta: { role: 'assistant' } }] })); await settle();",
        "tell(name()); session.stop(); session.set({ models: [] }); await ask('two'); tell(name());",
    )
    assert (listed, told, unlisted) == ("qwen", "tutor", "default")


# -- the end of the conversation ----------------------------------------------------------------------------------


def test_the_end_stays_in_sight_when_something_below_it_grows(play):
    at_end, away, is_seen = play(
        "const { element } = chat.log; const resize = () => ResizeObserver.all.get(element)();",
        "Object.assign(element, { scrollTop: 600, scrollHeight: 1000, clientHeight: 400 });",
        "element.dispatch('scroll');",
        "element.clientHeight = 200; resize(); tell(element.scrollTop);",
        "element.scrollTop = 100; element.dispatch('scroll'); element.clientHeight = 150; resize();",
        "tell(element.scrollTop); chat.close(); tell(ResizeObserver.all.has(element));",
    )
    # The fake page does not stop at what can be scrolled to.
    assert (at_end, away) == (1000, 100)
    assert is_seen is False


# -- cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "cell"),
    [
        ("python", {"type": "code", "source": "a: 1"}),
        ("", {"type": "code", "source": "a: 1"}),
        ("yaml", {"type": "markdown", "source": "```yaml\na: 1\n```"}),
        ("bash", {"type": "markdown", "source": "```bash\na: 1\n```"}),
    ],
)
def test_only_python_is_inserted_as_code(play, language, cell):
    inserted = play(
        "await ask('one'); await answer('yes');",
        "const pre = document.createElement('pre'); pre.className = 'bodhi-code';",
        f"pre.dataset.language = {json.dumps(language)}; pre.textContent = 'a: 1\\n';",
        "const piece = document.createElement('div'); piece.append(pre); const view = chat.log.views.at(-1);",
        "view.actions.insert = tell; view.decorate(piece);",
        "piece.querySelector(\"button[aria-label='Insert as cell below']\").click();",
    )
    assert inserted == [cell]


# -- undoing ------------------------------------------------------------------------------------------------------


def test_what_was_undone_can_be_brought_back(play):
    undone, written, brought, saved, field, is_spent = play(
        "await ask('one'); await answer('a long answer'); await ask('two'); await answer('another');",
        "button('Undo').click(); button('Undo').click(); tell(texts()); tell(area.value); area.value = 'mine';",
        "button('Redo').click(); button('Redo').click(); await settle();",
        "tell(texts()); tell(model.saved.messages.length); tell(area.value); tell(button('Redo').disabled);",
    )
    assert undone == []
    # The first that was undone; what was undone then did not replace it.
    assert written == "two"
    assert brought == ["one", "a long answer", "two", "another"]
    assert (saved, field, is_spent) == (4, "mine", True)


def test_redo_never_comes_where_undo_was(play):
    shown = play(
        "const is = () => [button('Redo').hidden, button('Redo').disabled];",
        "const before = is(); await ask('one'); await answer('yes'); button('Undo').click(); tell([before, is()]);",
    )
    assert shown == [[False, True], [False, False]]


def test_what_is_brought_back_does_not_stay_in_the_field(play):
    assert play(
        "model.set('attachments', [NOTE]); await ask('one'); await answer('yes');",
        "button('Undo').click(); button('Redo').click(); tell([area.value, session.get('attachments').length]);",
    ) == ["", 0]


def test_who_writes_on_after_undo_has_nothing_to_bring_back(play):
    before, after = play(
        "tell(button('Redo').disabled); await ask('one'); await answer('yes'); button('Undo').click();",
        "await ask('two'); tell(button('Redo').disabled);",
    )
    assert (before, after) == (True, True)


def test_what_was_attached_to_an_undone_message_comes_back_with_it(play):
    text, attachments, saved = play(
        "model.set('attachments', [NOTE, PICTURE]); await ask('see'); await answer('I see.');",
        "session.set({ attachments: [{ ...NOTE, name: 'b.txt' }] }); button('Undo').click();",
        "tell(area.value); tell(session.get('attachments')); tell(model.saved.attachments.length);",
    )
    assert text == "see"
    assert [(one["kind"], one["name"]) for one in attachments] == [
        ("text", "a.txt"),
        ("image", "picture"),
        ("text", "b.txt"),
    ]
    assert attachments[0]["text"] == "words"
    assert attachments[1]["url"].startswith("data:image/png")
    assert saved == 3


def test_the_result_of_a_call_that_was_not_run_is_not_written_into_the_field(play):
    assert (
        play(
            "await ask('look'); model.chunk(last(), toolCall('{}') + DONE); model.end(last()); await settle();",
            "await ask('never mind'); button('Undo').click(); tell(area.value);",
        )
        == "never mind"
    )


def test_pythons_messages_are_not_lost_by_undo(play):
    after_one, after_two, redone = play(
        "await ask('one'); await answer('yes');",
        "model.set('messages', [{ role: 'user', content: 'Python' }]); session.clear();",
        "session.undo(); tell(texts()); session.undo(); tell(texts()); session.redo(); tell(texts());",
    )
    assert after_one == ["Python"]
    assert after_two == ["one", "yes"]
    assert redone == ["Python"]


def test_a_chat_that_was_deleted_can_be_brought_back(play):
    deleted, back, chats, shown = play(
        "await ask('one'); await answer('yes'); session.set({ system: 'Be kind.' }); session.chats.begin();",
        "await ask('two'); await answer('no'); session.chats.open(session.get('chats')[0]);",
        "session.chats.remove(); tell(texts()); button('Undo').click(); tell(texts());",
        "tell(session.get('chats').map(({ messages }) => textOf(messages[0])));",
        "tell([session.get('chat'), session.get('system'), model.saved.chat]);",
    )
    assert deleted == ["two", "no"]
    assert back == ["one", "yes"]
    assert chats == ["two"]
    assert shown == ["1", "Be kind.", "1"]


def test_the_keyboard_stays_in_the_chat_where_a_button_goes(play):
    focus = "document.activeElement.getAttribute('aria-label')"
    undo, redo, menu = play(
        "await ask('one'); await answer('yes'); button('Undo').focus(); button('Undo').click();",
        f"tell({focus}); button('Redo').focus(); button('Redo').click(); tell({focus});",
        f"saying('Clear chat').focus(); saying('Clear chat').click(); tell({focus});",
    )
    assert (undo, redo, menu) == ("Message", "Undo", "More")


# -- a model that is gone -----------------------------------------------------------------------------------------


def test_what_asked_a_model_that_is_gone_can_be_asked_again(play):
    notice, asked, hidden = play(
        "session.set({ model: 'lost', models: [...session.get('models'), { id: 'lost', capabilities: [] }] });",
        "const words = () => (chat.notices.notice.hidden ? '' : chat.notices.notice.textContent);",
        "await ask('one'); await refuse(404); await settle(); tell(words());",
        "saying('Try again').click(); await settle(); tell(last().body.model); tell(chat.notices.notice.hidden);",
    )
    assert notice == "The model “lost” is gone: “default” is asked from now on.Try again"
    assert (asked, hidden) == ("default", True)


# -- editing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "field"),
    [
        ("button('New chat').click();", "one, and two"),
        ("model.set('messages', [{ role: 'user', content: 'Python' }]);", "one, and two"),
        ("saying('Cancel').click(); button('New chat').click();", ""),
        ("saying('Send again').click();", ""),
    ],
    ids=["new chat", "Python", "cancelled", "sent"],
)
def test_an_edit_that_is_open_is_not_lost(play, end, field):
    assert (
        play(
            "await ask('one'); await answer('yes'); button('Edit message').click();",
            "chat.element.querySelector('textarea.bodhi-edit').value = 'one, and two';",
            f"{end} await settle(); tell(area.value);",
        )
        == field
    )


def test_an_edit_that_is_held_back_stays_open(play):
    written, asked = play(
        "await ask('one'); await answer('yes'); button('Edit message').click();",
        "const edit = chat.element.querySelector('textarea.bodhi-edit'); edit.value = 'one, and two';",
        "chat.maySend = () => false; saying('Send again').click(); tell([edit.value, chat.element.contains(edit)]);",
        "button('New chat').click(); given[0].push(area.value); tell(model.asked().length);",
    )
    assert written == ["one, and two", True, "one, and two"]
    assert asked == 1


# -- what Python sets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after"])
def test_messages_of_pythons_are_shown_whatever_they_lack(play, order):
    message = """{ role: "assistant", content: "x", stats: { seconds: 1, completion_tokens: 7 },
      tool_calls: [{ id: "c1", type: "function" }, { id: "c2", function: { name: "look", arguments: "{}" } }] }"""
    show = f"model.set('messages', [{message}]);"
    stats, cards, runs = play(
        f"{show} const shown = open();" if order == "before" else f"const shown = chat; {show}",
        "tell(shown.element.querySelector('.bodhi-stats').textContent);",
        "tell(shown.element.querySelectorAll('.bodhi-call-name').map((one) => one.textContent));",
        "tell(shown.element.querySelectorAll('button').filter((one) => one.textContent === 'Run').length);",
    )
    assert stats == "7 tokens"
    assert cards == ["", "look"]
    assert runs == 2


def test_an_answer_to_nothing_cannot_be_made_anew(play):
    first, second = play(
        "const say = (role) => ({ role, content: role });",
        "model.set('messages', [say('assistant'), say('user'), say('assistant')]);",
        "const [first, , second] = chat.log.views;",
        "for (const view of [first, second])",
        "  tell(Boolean(view.element.querySelector(\"button[aria-label='Regenerate']\")));",
    )
    assert (first, second) == (False, True)


def test_a_call_that_is_being_written_cannot_be_run(play):
    half, whole = play(
        "const runs = () => chat.element.querySelectorAll('button').filter((one) => one.textContent === 'Run').length;",
        "await ask('look'); model.chunk(last(), toolCall('{')); await settle(); chat.showCalls(); tell(runs());",
        "model.chunk(last(), toolCall('}') + DONE); model.end(last()); await settle(); tell(runs());",
    )
    assert (half, whole) == (0, 1)


def test_chats_of_pythons_are_shown_in_their_order_and_opened(play):
    names, system, messages = play(
        "const said = (content) => [{ role: 'user', content }];",
        "const chats = [{ id: 'b10', messages: said('ten') }, { id: 'b9', messages: said('nine') }, { id: 'b8' }];",
        "session.set({ chats });",
        "chat.header.showChats(); tell(chat.header.chats.children.map((one) => one.textContent));",
        "chat.header.chats.value = 'b9'; chat.header.openChat(); tell(session.get('system'));",
        "chat.header.chats.value = 'b8'; chat.header.openChat(); tell(session.messages);",
    )
    assert names == ["New chat", "New chat", "nine", "ten"]
    assert (system, messages) == ("", [])


def test_an_answer_that_another_page_writes_has_nothing_to_press_but_stop(play):
    growing, ended = play(
        "const tools = () => chat.log.views.at(-1).element.querySelectorAll('.bodhi-actions').length;",
        "model.set('messages', [{ role: 'user', content: 'one' }]);",
        "model.set('growing', { role: 'assistant', content: 'two', stats: {} }); await settle();",
        "tell([tools(), button('Stop').hidden, chat.log.element.getAttribute('aria-busy')]);",
        "model.set('messages', [{ role: 'user', content: 'one' }, { role: 'assistant', content: 'two' }]);",
        "await settle(); tell([tools(), button('Stop').hidden, chat.log.element.getAttribute('aria-busy')]);",
        "session.close();",
    )
    assert growing == [0, False, "true"]
    assert ended == [1, True, "false"]
