"""Routes have few names, however many paths there are."""

from __future__ import annotations

import pytest

from bodhi_jupyter.handlers.fields import fields_of, known_fields
from bodhi_jupyter.handlers.operations.document import OPERATIONS
from bodhi_jupyter.handlers.route_names import RouteNames
from bodhi_jupyter.routes import ROUTES


@pytest.fixture(scope="module")
def routes() -> RouteNames:
    return RouteNames(["/", *(pattern for pattern, _ in ROUTES)])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/org/some%20model", "/v1/models/{}"),
        ("/v1/rerank", "/v1/rerank"),
        ("/v1/reranking", "/v1/rerank"),
        ("/v1/files", "/v1/files"),
        ("/v1/files/file-123/content", "/v1/files"),
        ("/v1/responses/resp_1", "/v1/responses/{}"),
        ("/v1/responses/resp_1/cancel", "/v1/responses/{}/cancel"),
        ("/v1/responses/input_tokens", "/v1/responses/input_tokens"),
        ("/v1/messages", "/v1/messages"),
        ("/v1/messages/batches", "/v1/messages/{}"),
        ("/v1/nope/nope", "/v1"),
        ("/bodhi/v1/models/a/b/load", "/bodhi/v1/models/{}/load"),
        ("/bodhi/v1/usage", "/bodhi/v1/usage"),
        ("/bodhi/", "/bodhi"),
        ("/api/chat", "/api/chat"),
        ("/", "/"),
        ("/elsewhere", "{}"),
    ],
)
def test_what_varies_is_not_in_the_name(routes: RouteNames, path: str, name: str) -> None:
    assert routes.name("POST", path) == f"POST {name}"


def test_ten_thousand_paths_and_methods_have_a_few_names(routes: RouteNames) -> None:
    names = set()
    for number in range(10_000):
        for path in (f"/v1/{number}", f"/v1/models/{number}", f"/v1/files/{number}", f"/v1/messages/{number}"):
            names.add(routes.name(f"M{number}", path))
    assert names == {"OTHER /v1", "OTHER /v1/models/{}", "OTHER /v1/files", "OTHER /v1/messages/{}"}


def test_fields_of_every_dialect_are_known() -> None:
    assert {"model", "messages", "temperature", "max_output_tokens", "alias", "stop_sequences"} <= known_fields()
    assert "nonsense" not in known_fields()
    assert known_fields() == fields_of(operation.request for operation in OPERATIONS if operation.request is not None)
