"""Jupyter's own routes answer as if we were not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.conftest import StartServer
from tests.live.server import LiveServer

DISABLED = {"ServerApp": {"jpserver_extensions": {"bodhi_jupyter": False}}}
JSON_ROUTES = [
    "/api",
    "/api/contents",
    "/api/contents/nowhere",
    "/api/kernels",
    "/api/kernelspecs",
    "/api/sessions",
    "/api/status",
    "/api/me",
    "/api/terminals",
    "/api/config/notebook",
]


def shape(document: Any) -> Any:
    """The keys of a document, and of what is in it."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        return [shape(entry) for entry in document[:1]]
    return type(document)


def seen_from_outside(server: LiveServer, path: str) -> Any:
    answer = server.get(path)
    try:
        document = shape(answer.json())
    except ValueError:  # some of Jupyter's errors say that they are JSON and are not
        document = answer.text
    return answer.status_code, answer.headers["content-type"], document


def test_jupyters_own_routes_are_as_they_were(server: LiveServer, start_server: StartServer):
    plain = start_server(config=DISABLED)

    assert plain.get("/v1/models").status_code == 404
    assert {path: seen_from_outside(server, path) for path in JSON_ROUTES} == {
        path: seen_from_outside(plain, path) for path in JSON_ROUTES
    }


@pytest.mark.parametrize("path", JSON_ROUTES[1:])
def test_nobody_gets_in_without_a_key(server, path):
    assert server.get(path, key="").status_code == 403


def test_a_path_outside_v1_is_still_jupyters(server):
    for path in ("/v1x", "/api/nowhere", "/v2/models"):
        assert "application/json" not in server.get(path).headers["content-type"]


def test_jupyterlab_opens(start_server):
    pytest.importorskip("jupyterlab")
    server = start_server("lab")

    page = server.get("/lab")

    assert page.status_code == 200
    assert "jupyter-config-data" in page.text
    assert server.get("/v1/models").status_code == 200
    assert "v1/models" not in page.text
