"""What the OpenAPI document promises, a live server with the real engine keeps: for every operation, whatever is asked.

Requests are made up from the document, right ones and wrong ones, the same at every run.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bodhi_jupyter.handlers.operations import document
from tests.live.server import LiveServer

MODEL = "tiny-random"
#: Of each kind, for each operation.
EXAMPLES = 12
CONFORMS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: What is cut down, so that no answer takes long.
LIMITS = {"max_tokens": 4, "max_completion_tokens": 4, "max_output_tokens": 4, "n": 2}

SCHEMA = schemathesis.openapi.from_dict(
    document(server="/", cookie="username"),
    config=schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}}),
)
OPERATIONS = {operation.ok().label: operation.ok() for operation in SCHEMA.get_all_operations()}


def tamed(body: dict[str, Any]) -> dict[str, Any]:
    """The same for a model that there is, and with little to say."""
    small = {
        name: min(value, LIMITS[name]) if value >= 0 else value
        for name, value in body.items()
        if name in LIMITS and type(value) is int
    }
    named = {"model": MODEL} if isinstance(body.get("model"), str) else {}
    return {**body, **small, **named}


def ask(server: LiveServer, case: Case) -> int:
    """The status of the answer, which is as the document says."""
    if isinstance(case.body, dict):
        case.body = tamed(case.body)
    response = case.call(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=60)
    case.validate_response(response, checks=CONFORMS)
    import os
    if os.environ.get("NEG"):
        from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
        try:
            case.validate_response(response, checks=[negative_data_rejection, positive_data_acceptance])
        except BaseException as e:
            print("NEG", case.method, case.path, response.status_code, repr(case.body)[:300], case.query, str(e)[:400].replace(chr(10)," "), response.text[:200])
    if response.status_code != 501:
        case.validate_response(response, checks=[not_a_server_error])
    return response.status_code


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_asked_the_answer_is_as_described(server: LiveServer, label: str, mode: GenerationMode) -> None:
    statuses: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def check(case: Case) -> None:
        statuses.append(ask(server, case))

    check()
    print(label, mode, statuses)
