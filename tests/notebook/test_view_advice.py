"""What the chat says of an error, with what a person can do about it."""

from __future__ import annotations

import json

import pytest

from tests.notebook.node import run

TOO_LONG = (
    "This model's maximum context length is 1024 tokens. However, your messages resulted in 2913 tokens: the request "
    "exceeds the available context size."
)


@pytest.mark.parametrize(
    ("message", "param", "said"),
    [
        (
            TOO_LONG,
            "messages",
            "This chat has 2,913 tokens, of which the model takes 1,024: shorten it, begin a new one, or choose a "
            "model with more context.",
        ),
        (
            "The model 'm' does not write text: it is for /v1/embeddings.",
            "model",
            "The model 'm' does not write text: it is for /v1/embeddings. Choose another model above.",
        ),
        (
            "The model does not take image input.",
            "messages",
            "The model does not take image input. Pictures of earlier messages go along, too: leave them out, begin a "
            "new chat, or choose another model above.",
        ),
        ("Not so.", "messages", "Not so."),
        ("The Jupyter server does not answer.", None, "The Jupyter server does not answer."),
    ],
)
def test_what_can_be_done_is_said(tmp_path, message, param, said):
    failure = json.dumps({"message": message, "param": param})
    assert run("advice.js", f"tell(advised({failure}));", tmp_path) == said
