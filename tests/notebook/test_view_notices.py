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
