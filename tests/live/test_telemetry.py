"""What real servers keep of what happened: for the notebook that asks, across a kill, and for one another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.live.kernel import Kernel
from tests.live.server import LiveServer, eventually


def usage(server: LiveServer, **query: str) -> dict[str, object]:
    with server.client() as client:
        answer = client.get("/bodhi/v1/usage", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_notebook_sees_what_it_used(server: LiveServer) -> None:
    with Kernel(server) as kernel, server.client() as client:
        answer = client.post(
            "/api/sessions",
            json={"path": "lesson.ipynb", "name": "lesson", "type": "notebook", "kernel": {"id": kernel.id}},
        )
        assert answer.status_code == 201, answer.text
        kernel.run(
            "from openai import OpenAI\n"
            "question = [{'role': 'user', 'content': 'hello'}]\n"
            "answer = OpenAI().chat.completions.create(model='default', messages=question, max_tokens=4)"
        )
        kernel.run("import bodhi_jupyter, sys")
        kernel.run("rows = bodhi_jupyter.usage(by='notebook,client')")
        kernel.run("rows = rows.to_dict('records') if 'pandas' in sys.modules else rows")
        (row,) = kernel.value("[{key: row[key] for key in ('notebook', 'client', 'requests')} for row in rows]")
        assert row == {"notebook": "lesson.ipynb", "client": "openai-python", "requests": 1}
        assert kernel.value("answer.usage.completion_tokens") == kernel.value("int(rows[0]['completion_tokens'])")


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_a_server_that_is_killed_is_in_the_usage_of_the_other(start_server, tmp_path: Path) -> None:
    shared = {"JUPYTER_DATA_DIR": str(tmp_path / "shared")}
    killed, left = start_server(env=shared), start_server(env=shared)
    for live in (killed, left):
        assert live.chat().status_code == 200
    eventually(lambda: usage(left)["totals"]["requests"] == 2, "both servers' requests")  # type: ignore[index]
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()

    found = usage(left)
    assert (found["totals"]["requests"], found["files_read"], found["files_skipped"]) == (2, 2, 0)  # type: ignore[index]

    # Its place is free for the next one.
    again = start_server(env=shared)
    assert again.chat().status_code == 200
    found = usage(again)
    assert (found["totals"]["requests"], found["files_read"]) == (3, 2)  # type: ignore[index]


def test_the_page_of_metrics_is_jupyters_and_asks_for_a_key(server: LiveServer) -> None:
    assert server.chat().status_code == 200
    text = eventually(
        lambda: found if "llamacpp:" in (found := server.get("/metrics").text) else None, "an engine's own metrics"
    )
    assert 'bodhi_requests_total{dialect="openai",endpoint="POST /v1/chat/completions",error="",' in text
    assert "bodhi_engine_memory_bytes{" in text
    assert server.get("/metrics", key="").status_code == 403
