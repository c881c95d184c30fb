"""What the OpenAPI document promises, a live server with the real engine keeps: for every operation, whatever is asked.

Requests are made up from the document, right ones and wrong ones, the same at every run.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bodhi_jupyter.handlers.operations.document import OPERATIONS as DESCRIBED
from bodhi_jupyter.handlers.operations.document import document
from tests.live.server import LiveServer

MODEL = "guide"
ALIAS = "tutor"
#: How much is written, so that no answer takes long.
LIMITS = {
    "POST /v1/chat/completions": {"max_tokens": 4, "max_completion_tokens": 4},
    "POST /v1/completions": {"max_tokens": 4},
    "POST /v1/responses": {"max_output_tokens": 4},
    "POST /v1/messages": {"max_tokens": 4},
    "POST /api/chat": {"options": {"num_predict": 4}},
    "POST /api/generate": {"options": {"num_predict": 4}},
}
#: What the model in the box cannot do.
LACKING = {"POST /v1/rerank", "POST /v1/systemone"}

CONFORMS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

SCHEMA = schemathesis.openapi.from_dict(
    document(server="/", cookie="username"),
    config=schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}}),
)
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}
EXAMPLES = [(operation.route, example) for operation in DESCRIBED for example in operation.examples.values() or [None]]
#: Without a body or a query there is nothing that can be wrong.
FALLIBLE = [operation.route for operation in DESCRIBED if operation.request] + ["GET /v1/models"]


def tamed(route: str, body: dict[str, Any]) -> dict[str, Any]:
    """The same for a model that there is, and with little to say."""
    named = {"model": MODEL} if isinstance(body.get("model"), str) else {}
    if isinstance(body.get("source"), str):
        named = {"source": MODEL}
    few = {"n": min(body["n"], 2)} if isinstance(body.get("n"), int) else {}
    return {**body, **LIMITS.get(route, {}), **few, **named}


def with_names(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same parameters of a path for a model and an alias that there are."""
    there = {"model": MODEL, "alias": ALIAS}
    return {name: there.get(name, value) for name, value in parameters.items()}


def expected_status(route: str, example: dict[str, Any] | None, described: int) -> int:
    """What the model in the box makes of an example."""
    if route in LACKING:
        return 501
    if route == "DELETE /bodhi/v1/pulls/{pull}":
        return 404
    # It has no tokens for what comes between two texts, and no hub has its name.
    needs_another = route == "POST /api/pull" or (route == "POST /api/generate" and "suffix" in (example or {}))
    return 400 if needs_another else described


def answer(server: LiveServer, case: Case) -> Response:
    """The answer, which is as the document says."""
    headers = {"Authorization": f"Bearer {server.token}"}
    response = case.call(base_url=server.url, headers=headers, timeout=60, allow_redirects=False)
    case.validate_response(response, checks=CONFORMS)
    if response.status_code != 501:
        case.validate_response(response, checks=[not_a_server_error])
    return response


def prepare(server: LiveServer, route: str, example: dict[str, Any] | None) -> None:
    """Have there what the example needs, and not what it makes: the tests run in any order, in several processes."""
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=60) as client:
        if route == "POST /bodhi/v1/aliases" and example is not None:
            client.delete(f"/bodhi/v1/aliases/{example['alias']}")
        elif "{alias}" in route:
            client.post(f"/bodhi/v1/aliases/{MODEL}/copy", json={"alias": ALIAS})
        elif route == "DELETE /api/delete":
            # What is shipped is not deleted: another model under its name.
            client.post("/api/create", json={"model": MODEL, "from": "default"})


@pytest.mark.parametrize(("route", "example"), EXAMPLES)
def test_examples_are_answered_as_described(server: LiveServer, route: str, example: dict[str, Any] | None) -> None:
    operation = OPERATIONS[route]
    body = {} if example is None else {"body": tamed(route, example), "media_type": "application/json"}
    parameters = with_names({parameter.name: "none" for parameter in operation.path_parameters})
    prepare(server, route, example)
    response = answer(server, operation.Case(path_parameters=parameters, **body))

    described = next(one for one in DESCRIBED if one.route == route)
    assert response.status_code == expected_status(route, example, next(iter(described.replies), 404))


@pytest.mark.parametrize("route", OPERATIONS)
def test_right_requests_are_answered_as_described(server: LiveServer, route: str) -> None:
    fresh = (f"{route.split('/')[-1]}-{number}" for number in count())

    @BOUNDED
    @given(case=OPERATIONS[route].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def check(case: Case) -> None:
        case.path_parameters = with_names(case.path_parameters)
        if isinstance(case.body, dict):
            case.body = tamed(route, case.body)
            if "alias" in case.body:
                case.body = {**case.body, "alias": ALIAS if case.method == "PUT" else next(fresh)}
        answer(server, case)

    check()


@pytest.mark.parametrize("route", FALLIBLE)
def test_wrong_requests_are_refused_as_described(server: LiveServer, route: str) -> None:
    @BOUNDED
    @given(case=OPERATIONS[route].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def check(case: Case) -> None:
        case.validate_response(answer(server, case), checks=[negative_data_rejection])

    check()
