"""Errors as the person at the notebook reads them."""

from __future__ import annotations

import httpx
import pytest

from bodhi_jupyter.notebook.errors import RequestRefused, unreachable


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        (
            b'{"error":{"message":"No such model. (POST /v1/chat, model \'x\')","param":"model","code":"a"}}',
            "No such model.",
            "model",
            "a",
        ),
        (
            b'{"error":{"message":"This model\'s maximum context length is 1024 tokens. However, your messages '
            b'resulted in 2913 tokens: the request exceeds the available context size.",'
            b'"code":"context_length_exceeded"}}',
            "The messages have 2,913 tokens, of which the model takes 1,024: shorten them, or ask a model with more "
            "context.",
            "",
            "context_length_exceeded",
        ),
        (b'{"error":"model not found"}', "model not found", "", ""),
        (b'{"error":{"message":null}}', "The server answered with status 400.", "", ""),
        (b"<html>", "The server answered with status 400.", "", ""),
        (b"[]", "The server answered with status 400.", "", ""),
    ],
)
def test_what_an_answer_says(body, message, param, code):
    error = RequestRefused.of(400, body)

    assert (str(error), error.param, error.code, error.status) == (message, param, code, 400)


def test_a_route_that_is_not_there_means_an_old_server_or_none_of_ours():
    assert "install bodhi-jupyter" in str(RequestRefused.of(404, b"<html>"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"),
            "is not trusted in this kernel: set SSL_CERT_FILE",
        ),
        (
            httpx.ConnectError(
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: IP address mismatch, certificate is not "
                "valid for '127.0.0.1'."
            ),
            "is for another address",
        ),
        (httpx.ConnectError("[Errno 111]"), "Nobody answers at http://127.0.0.1:1."),
        (httpx.ReadTimeout(""), "silent for too long"),
        (httpx.RemoteProtocolError("peer closed"), "broke off"),
    ],
)
def test_what_httpx_says_is_put_into_a_sentence(error, words):
    assert words in str(unreachable(error, "http://127.0.0.1:1"))


def test_under_a_cell_stands_a_sentence_and_no_frames():
    assert RequestRefused("No.")._render_traceback_() == ["RequestRefused: No."]
