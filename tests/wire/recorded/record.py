"""Records streams of the engine that we ship, for `test_ollama_golden`: ``python -m tests.wire.recorded.record``.

A new recording changes ids and numbers, so its lines are to be read again before they are believed.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from tests.wire.native import BEGUN_CALL, TIME, WEATHER, running_engine
from tests.wire.test_ollama_golden import FOLDER, lines_of

_HELLO = {"role": "user", "content": "hello"}
_BEGUN = [_HELLO, {"role": "assistant", "content": BEGUN_CALL}]
_CHAT: dict[str, Any] = {
    "messages": [_HELLO],
    "max_tokens": 6,
    "seed": 1,
    "stream": True,
    "stream_options": {"include_usage": True},
    "chat_template_kwargs": {"enable_thinking": False},
}
_WORDS = 'root ::= "é日🦙 fin"'

#: Each recording: the engine's route, and what is posted there.
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", _CHAT),
    "chat_without_usage": ("/v1/chat/completions", {**_CHAT, "stream_options": {"include_usage": False}}),
    "chat_beyond_ascii": ("/v1/chat/completions", {**_CHAT, "max_tokens": 40, "grammar": _WORDS}),
    "chat_logprobs": ("/v1/chat/completions", {**_CHAT, "max_tokens": 2, "logprobs": True, "top_logprobs": 2}),
    "chat_thinking": (
        "/v1/chat/completions",
        {**_CHAT, "chat_template_kwargs": {"enable_thinking": True}, "max_tokens": 5},
    ),
    "chat_calls": (
        "/v1/chat/completions",
        {
            **_CHAT,
            "messages": _BEGUN,
            "tools": [WEATHER, TIME],
            "tool_choice": "required",
            "parallel_tool_calls": True,
            # Random weights go from call to call: cut where three are whole.
            "max_tokens": 150,
            "seed": 7,
            "logit_bias": [[" ", -20], ["\n", -20]],
        },
    ),
    "text": ("/v1/completions", {"prompt": "once upon", "max_tokens": 5, "seed": 1, "stream": True}),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_engine(Path(folder)) as engine:
        for name, (path, body) in STREAMS.items():
            answer = engine.post(path, json=body)
            assert answer.status_code == 200, answer.text
            # The engine calls the model by its path where it is given no other name.
            stream = re.sub(rb'"model":"[^"]*"', b'"model":"tiny"', answer.content)
            (FOLDER / f"{name}.sse").write_bytes(stream)
            (FOLDER / f"{name}.ndjson").write_bytes(lines_of(name, [stream]))


if __name__ == "__main__":
    main()
