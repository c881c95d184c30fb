"""The settings of a chat in a page that the test plays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.notebook.node import run
from tests.notebook.pages import PAGE, Play

BEGIN = """
const model = new FakeModel();
const session = new Session(model);
await session.connection.connecting;
const settings = new Settings(session);
session.subscribe(() => settings.show());
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return lambda *scripts: run("chat.js", "\n".join([PAGE, BEGIN, *scripts]), tmp_path)


@pytest.mark.parametrize(
    ("value", "field", "others"),
    [
        ({"type": "json_object"}, "", 'top_k: 3 · response_format: {"type":"json_object"}'),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}, "{}", "top_k: 3"),
        (None, "", "top_k: 3"),
    ],
    ids=["object", "schema", "none"],
)
def test_every_parameter_of_pythons_is_shown(play, value, field, others):
    parameters = json.dumps({"top_k": 3, "response_format": value})
    shown = play(
        f"model.set('parameters', {parameters});",
        "tell(settings.fields.get('response_format').input.value); tell(settings.others.textContent);",
    )
    assert shown == [field, others]
