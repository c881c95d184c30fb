"""The log has one line of ours for each request, and no header of it."""

from __future__ import annotations

import io
import logging

import pytest

from bodhi_jupyter.handlers.own_line import is_heard
from tests.fakes import behaviours as behave

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


async def test_what_went_well_is_for_debugging_as_jupyters_own_lines_are(client, fake, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        await client.post("/v1/chat/completions", json={**CHAT, "stream": True}),
        await client.post("/v1/chat/completions", json={**CHAT, "model": "nobody"}),
    ]
    fake.behave(behave.die_mid_chunk())
    answers.append(await client.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    assert [answer.status_code for answer in answers] == [200, 404, 200]
    levels = {record.getMessage().split()[0]: record.levelno for record in caplog.records}
    told = [levels[f"request_id={answer.headers['x-request-id']}"] for answer in answers]
    assert told == [logging.DEBUG, logging.INFO, logging.INFO]


class TestHeard:
    @pytest.fixture
    def logger(self) -> logging.Logger:
        """As Jupyter's; not one of the process, to which pytest would add handlers."""
        logger = logging.Logger("server", logging.DEBUG)
        logger.addHandler(quiet := logging.StreamHandler(io.StringIO()))
        quiet.setLevel(logging.INFO)
        return logger

    @pytest.fixture
    def child(self, logger) -> logging.Logger:
        child = logging.Logger("server.child", logging.DEBUG)
        child.parent = logger
        return child

    def test_a_line_that_no_handler_takes_is_not_heard(self, logger, child) -> None:
        for log in (logger, child, logging.LoggerAdapter(logger)):
            assert (is_heard(log, logging.DEBUG), is_heard(log, logging.INFO)) == (False, True)

    def test_one_that_another_handler_takes_is(self, logger, child) -> None:
        logger.addHandler(logging.StreamHandler(io.StringIO()))
        assert is_heard(child, logging.DEBUG)
        child.propagate = False
        assert not is_heard(child, logging.DEBUG)

    def test_a_logger_that_takes_less_hears_less(self, logger) -> None:
        logger.setLevel(logging.WARNING)
        assert not is_heard(logger, logging.INFO)


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
