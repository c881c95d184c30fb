"""The OpenAPI document: whole, valid, and true of the routes; and the page that shows it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tornado.web import RequestHandler

from bodhi_jupyter.handlers.manage_docs import DocsAssetHandler
from bodhi_jupyter.handlers.ollama.manage import PushHandler, UnsupportedHandler
from bodhi_jupyter.handlers.operations.document import OPERATIONS, document
from bodhi_jupyter.handlers.operations.models import example_of
from bodhi_jupyter.handlers.passthrough import HostedRouteHandler
from bodhi_jupyter.models import box
from bodhi_jupyter.routes import ROUTES
from bodhi_jupyter.wire.openapi import Operation
from bodhi_jupyter.wire.sse import iter_events
from bodhi_jupyter.wire.validation import parse_request

PACKAGE = Path(box.__file__).parents[1]
METHODS = ("get", "post", "put", "patch", "delete")
#: Parts of the page; and what only refuses, of which the document's introduction tells.
NOT_DESCRIBED = {DocsAssetHandler, HostedRouteHandler, PushHandler, UnsupportedHandler}


@pytest.fixture
def bodhi_config() -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    # As it is after a journey over the network.
    return json.loads(json.dumps(document(server="/user/ann/", cookie="username")))


async def test_the_example_of_a_model_is_what_the_route_says_of_its_file(client, tiny_random) -> None:
    (model,) = (await client.get("/v1/models?capability=completion")).json()["data"]
    assert {**example_of(tiny_random), "created": model["created"]} == model


def test_the_example_of_a_model_is_the_one_in_the_box(described) -> None:
    file = box.GUIDE.file
    assert json.dumps(example_of(file)) in json.dumps(described)


def offered(handler: type[RequestHandler]) -> set[str]:
    return {name for name in METHODS if getattr(handler, name) is not getattr(RequestHandler, name)}


def handler_of(path: str) -> tuple[str, type[RequestHandler]]:
    """The first route that takes it, as Tornado chooses."""
    return next((route[0], route[1]) for route in ROUTES if re.fullmatch(route[0], path))


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {
        (pattern, name) for pattern, handler in ROUTES if handler not in NOT_DESCRIBED for name in offered(handler)
    }
    found = set()
    for operation in OPERATIONS:
        pattern, handler = handler_of(re.sub(r"\{\w+\}", "x", operation.path))
        assert operation.method in offered(handler), operation.route
        found.add((pattern, operation.method))

    assert found == routes


def test_the_alternatives_in_a_route_are_all_described() -> None:
    paths = {operation.path for operation in OPERATIONS}
    for pattern, _ in ROUTES:
        if alternatives := re.fullmatch(r"/v1/\(([\w/|]+)\)", pattern):
            assert {f"/v1/{one}" for one in alternatives[1].split("|")} <= paths


def test_it_is_valid_openapi_31(described) -> None:
    assert described["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(described).iter_errors()] == []


def test_operations_have_names_of_their_own(described) -> None:
    ids = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids) == len(OPERATIONS)


def test_every_tag_is_introduced(described) -> None:
    used = {tag for path in described["paths"].values() for operation in path.values() for tag in operation["tags"]}
    assert {tag["name"] for tag in described["tags"]} == used


def test_every_security_scheme_is_used_and_there(described) -> None:
    used = {
        name
        for path in described["paths"].values()
        for operation in path.values()
        for alternative in operation["security"]
        for name in alternative
    }
    assert set(described["components"]["securitySchemes"]) == used
    changing = described["paths"]["/v1/messages"]["post"]["security"]
    assert {"cookie": [], "xsrf": []} in changing
    assert {"x-api-key": []} in changing
    assert {"x-api-key": []} in described["paths"]["/v1/models"]["get"]["security"]
    assert {"x-api-key": []} not in described["paths"]["/v1/embeddings"]["post"]["security"]


def test_nothing_in_it_is_of_python(described) -> None:
    text = json.dumps(described, ensure_ascii=False)
    for internal in ("bodhi_jupyter", "``", "pydantic", "None"):
        assert internal not in text


WITH_BODY = [operation for operation in OPERATIONS if operation.request is not None]


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.route)
def test_examples_of_requests_pass_the_gateways_own_check(operation: Operation) -> None:
    assert operation.examples
    assert operation.request is not None
    for example in operation.examples.values():
        parse_request(operation.request, json.dumps(example).encode())


def contents(described: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                for media, content in response.get("content", {}).items():
                    yield f"{method} {path} {status} {media}", content
    for name, response in described["components"]["responses"].items():
        yield name, response["content"]["application/json"]


def check(described: Mapping[str, Any], schema: Mapping[str, Any], instance: object) -> None:
    jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(instance)


def test_examples_of_answers_fit_their_schemas(described) -> None:
    checked = 0
    for name, content in contents(described):
        if "stream" not in name and "ndjson" not in name and "html" not in name:
            check(described, content["schema"], content["example"])
            checked += 1
    assert checked > 40


def test_examples_of_streams_fit_their_schemas(described) -> None:
    streams = [content for name, content in contents(described) if "event-stream" in name]
    assert len(streams) == 4
    for content in streams:
        events = [event for event in iter_events(content["example"].encode()) if event.data is not None]
        assert len(events) > 1
        data = content["schema"]["properties"]["data"]
        embedded = next(one for one in data.get("oneOf", [data]) if "contentSchema" in one)["contentSchema"]
        for event in events:
            assert event.data is not None
            if event.data != b"[DONE]":
                check(described, embedded, json.loads(event.data))


def test_examples_of_lines_fit_their_schemas(described) -> None:
    streams = [content for name, content in contents(described) if "ndjson" in name]
    assert len(streams) == 4
    for content in streams:
        lines = content["example"].splitlines()
        assert len(lines) > 1
        for line in lines:
            check(described, content["schema"], json.loads(line))


def test_a_schema_says_what_the_gateway_checks(described) -> None:
    properties = described["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"minimum": 0, "maximum": 2, "type": "number"} in properties["temperature"]["anyOf"]
    assert described["components"]["schemas"]["ResponsesRequest"]["required"] == ["input"]


def docstrings_of_fields() -> Iterator[tuple[str, str, str]]:
    """Each field below which a docstring stands, by its class and its name, and the docstring's first word."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for field, below in pairwise(node.body if isinstance(node, ast.ClassDef) else ()):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        yield node.name, name, text.split()[0].strip("`")


def test_what_the_code_says_of_a_field_is_in_it(described) -> None:
    schemas = described["components"]["schemas"]
    told = [one for one in docstrings_of_fields() if one[0] in schemas]
    assert {"ContextParams", "AliasFile", "RequestParams", "OllamaCreateRequest"} <= {model for model, *_ in told}
    for model, name, first_word in told:
        # By the name that callers write.
        properties = schemas[model]["properties"]
        field = properties.get(name) or properties["from"]
        assert first_word in field.get("description", ""), (model, name)


async def test_the_document_is_served_below_the_base_url(client, jp_base_url) -> None:
    response = await client.get("/bodhi/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    served = response.json()
    assert served["servers"] == [{"url": jp_base_url.rstrip("/")}]
    assert served["components"]["securitySchemes"]["cookie"]["name"].startswith("username-")
    assert set(served["paths"]) == {operation.path for operation in OPERATIONS}


async def test_nobody_reads_it_without_a_key(client, error_of) -> None:
    response = await client.get("/bodhi/openapi.json", headers={"Authorization": ""})
    assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")
    for path in ("/bodhi", "/bodhi/docs", "/bodhi/docs/swagger-ui-bundle.js"):
        response = await client.get(path, headers={"Authorization": ""})
        assert response.status_code == 302
        assert "/login" in response.headers["location"]
        assert response.headers["location"].endswith(path.replace("/", "%2F"))
        # Who sends a key is told that it is wrong.
        response = await client.get(path, headers={"Authorization": "Bearer bodhi-gone"})
        assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/bodhi", "/bodhi/"])
async def test_the_short_address_leads_to_the_page(client, jp_base_url, path) -> None:
    response = await client.get(path)
    assert (response.status_code, response.headers["location"]) == (302, f"{jp_base_url}bodhi/docs")
    assert (await client.get("/bodhi/nothing")).status_code == 404


async def test_the_short_address_with_a_token_logs_a_browser_in(client, token) -> None:
    headers = {"Authorization": ""}
    response = await client.get("/bodhi", params={"token": token}, headers=headers)
    assert response.status_code == 302
    assert token not in response.headers["location"]
    assert (await client.get("/bodhi/docs", headers=headers)).status_code == 200


async def test_the_page_runs_nothing_but_its_own(client) -> None:
    first, second = [await client.get("/bodhi/docs") for _ in range(2)]
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert first.headers["cache-control"] == "no-store"
    policy = dict(part.strip().split(" ", 1) for part in first.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'self'"
    assert policy["connect-src"] == "'self'"
    (nonce,) = re.findall(r"^'nonce-([\w-]+)'$", policy["script-src"])
    assert policy["style-src"] == policy["script-src"]
    # Every script and style has it, and it is another one next time.
    assert first.text.count(f'nonce="{nonce}"') == len(re.findall("<script|<style|<link rel=.stylesheet", first.text))
    assert nonce not in second.text
    assert "http://" not in first.text
    assert "https://" not in first.text


async def test_the_pages_files_are_sent_once(client) -> None:
    for name, kind in (("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript")):
        response = await client.get(f"/bodhi/docs/{name}")
        assert response.headers["content-type"] == f"{kind}; charset=utf-8"
        assert len(response.content) > 50_000
        again = await client.get(f"/bodhi/docs/{name}", headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.get("/bodhi/docs/plugin.py")).status_code == 404
