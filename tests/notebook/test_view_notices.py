"""What the chat says of what went wrong or was ended, in a page that the test plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.pages import FILES, Play, player


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return player(tmp_path)


def test_an_error_can_be_closed_and_the_next_one_is_seen(play):
    closed, state, focused, again = play(
        FILES,
        "await ask('one'); await refuse(503); button('Close notice').click();",
        "tell(notice()); tell(session.status.state); tell(document.activeElement === area);",
        "await ask('two'); await refuse(503); tell(notice());",
    )
    assert closed == ""
    assert state == "failed"
    assert focused is True
    assert again.startswith("It is too long.")


LEFT = "const told = () => (chat.notices.told.hidden ? '' : chat.notices.told.textContent);"


def test_who_leaves_a_chat_in_the_middle_of_its_answer_hears_that_it_was_stopped_and_can_go_back(play):
    kept, shown, back, focused, after = play(
        LEFT,
        "await ask('tell me'); model.chunk(last(), delta('Half of')); await settle();",
        "button('New chat').click(); tell(model.saved.chats[0].messages.at(-1)); tell(told());",
        "saying('Go back').click(); tell(texts()); tell(document.activeElement === area); tell(told());",
    )
    assert (kept["content"], kept["stats"]["finish_reason"]) == ("Half of", "stopped")
    assert shown.startswith("“tell me” was stopped: only the chat that is shown goes on.")
    assert back == ["tell me", "Half of"]
    assert focused is True
    assert after == ""


def test_what_is_told_of_a_chat_that_was_left_goes_with_the_next_message(play):
    before, after, closed = play(
        LEFT,
        "await ask('tell me'); session.chats.begin(); tell(told() !== '');",
        "await ask('and you'); tell(told());",
        "session.chats.open(session.get('chats')[0]); button('Close notice').click(); tell(told());",
    )
    assert (before, after, closed) == (True, "", "")


def test_nothing_is_told_of_a_chat_in_which_nothing_went_on(play):
    told = play(LEFT, "await ask('one'); await answer('yes'); button('New chat').click(); tell(told());")
    assert told == ""


def test_a_chat_in_which_a_function_ran_is_told_of_too(play):
    told = play(
        LEFT,
        "await ask('look'); model.chunk(last(), toolCall('{}') + DONE); model.end(last()); await settle();",
        "saying('Run').click(); button('New chat').click(); tell(told());",
    )
    assert told.startswith("“look” was stopped")
