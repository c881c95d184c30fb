"""A server that was started with uvloop, as `docs/performance.md` says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.server import LiveServer, eventually, with_tiny_random

DOCS = Path(__file__).parents[2] / "docs" / "performance.md"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("uvloop")
    (said,) = re.findall(r"```python\n(import asyncio\nimport uvloop[^`]*)```", DOCS.read_text())
    live = LiveServer(folder, config=with_tiny_random(folder))
    (folder / "config" / "jupyter_server_config.py").write_text(
        f"{said}\nimport atexit\natexit.register(lambda: print(asyncio.get_event_loop_policy()))"
    )
    with live:
        yield live
    assert "<uvloop." in live.log()


def streamed(server: LiveServer) -> str:
    return server.chat(stream=True).text.rstrip()


def test_whole_answers_and_streams(server: LiveServer) -> None:
    assert server.chat(ignore_eos=True).json()["usage"]["completion_tokens"] == 4
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: streamed(server), range(32)))
    assert all(end.endswith("data: [DONE]") for end in ends)


def test_who_leaves_is_noticed(server: LiveServer) -> None:
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10**6}
    left = 'bodhi_client_disconnects_total{dialect="openai",phase="mid_stream"}'
    with server.client() as client:

        def noticed() -> bool:
            # On a busy machine one may have come to its end before it was left.
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                next(answer.iter_lines())
            return left in client.get("/metrics").text

        eventually(noticed, "the end of a stream that was left")
