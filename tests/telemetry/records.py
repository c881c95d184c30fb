"""Records of requests that nobody made."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from bodhi_jupyter.wire.record import RequestRecord

CHAT = RequestRecord(
    "req_0",
    "POST /v1/chat/completions",
    route="POST /v1/chat/completions",
    user="ann",
    client="openai-python",
    client_version="2.8.0",
    model="tutor",
    alias="tutor",
    backend="gpu-box",
    status=200,
    runs_model=True,
    seconds=1.0,
    prompt_tokens=30,
    completion_tokens=5,
)


def record(**changes: Any) -> RequestRecord:
    """A chat that went well just now, with these changes."""
    return replace(CHAT, **{"started": time.time(), **changes})
