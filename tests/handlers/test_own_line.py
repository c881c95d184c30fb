"""The log has one line of ours for each request, and no header of it."""

from __future__ import annotations

import logging

import pytest

HEADERS = {
    "User-Agent": "agent-of-nobody/1",
    "Accept": "application/x-of-nobody",
    "Referer": "http://page.of-nobody/?x=1",
    "X-Mine": "header-of-nobody",
}
CHAT = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/bodhi", 302),
        ("POST", "/v1/chat/completions", 503),
        ("POST", "/v1/files", 501),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/bodhi/ollama/nobody/api/tags", 401),
    ],
)
async def test_a_request_has_one_line_and_none_of_its_headers(client, fake, caplog, method, path, status) -> None:
    await client.get("/v1/models")
    if status == 503:
        await fake.__aexit__()
    with caplog.at_level(logging.DEBUG):
        caplog.clear()
        answer = await client.request(method, path, json=CHAT if method == "POST" else None, headers=HEADERS)
    assert answer.status_code == status
    assert "of-nobody" not in caplog.text
    lines = [record.getMessage() for record in caplog.records if f"status={status}" in record.getMessage()]
    assert len(lines) == 1
    assert answer.headers["x-request-id"] in lines[0]
    assert lines[0].endswith(" ip=127.0.0.1")
    assert f"{status} {method} " not in caplog.text


@pytest.mark.parametrize("wanted", [True, False])
async def test_jupyters_own_metric_counts_as_it_is_configured(client, jp_serverapp, wanted) -> None:
    jp_serverapp.record_http_request_metrics = wanted
    before = await counted(client)
    await client.get("/v1/nowhere")
    assert await counted(client) - before == (1 if wanted else 0)


async def counted(client) -> float:
    """How many requests to routes that are not there Jupyter has counted."""
    lines = (await client.get("/metrics")).text.splitlines()
    mark = 'http_request_duration_seconds_count{handler="bodhi_jupyter.handlers.openai.UnknownRouteHandler"'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(mark))
