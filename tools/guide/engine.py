"""The product's own engine with a model file, and questions to it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bodhi_jupyter.backends.launch import EmbeddedLauncher, EngineSpec
from bodhi_jupyter.catalog.context import ContextParams

_KEY = "evaluation"


class Engine:
    """A running engine.

    Args:
        client: an HTTP client for its address.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def message(self, messages: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """The assistant's message; `more` is the rest of the request. Without one the likeliest tokens are taken."""
        body = {"messages": list(messages), "temperature": 0, "max_tokens": 256, **more}
        answer = self.client.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        message: dict[str, Any] = answer.json()["choices"][0]["message"]
        return message

    def text(self, *turns: str, system: str = "", **more: Any) -> str:
        """The answer to the last of these turns; they are a user's and the assistant's in alternation."""
        roles = ("user", "assistant")
        messages = [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        return str(self.message(messages, **more)["content"] or "")


@contextmanager
def running(path: Path, **context: Any) -> Iterator[Engine]:
    """An engine with this file, until the context is left; `context` is fields of `ContextParams`."""
    launcher = EmbeddedLauncher()
    configuration = launcher.configuration(EngineSpec(path.stem, path, ContextParams(n_threads=1, **context)), _KEY)
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            launcher.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(configuration) + "\n")
        child.stdin.flush()
        address = f"http://127.0.0.1:{json.loads(child.stdout.readline())['port']}"
        headers = {"Authorization": f"Bearer {_KEY}"}
        with httpx.Client(base_url=address, headers=headers, timeout=120, trust_env=False) as client:
            yield Engine(client)
        # The context of Popen closes the child's stdin, which ends it, and waits.
