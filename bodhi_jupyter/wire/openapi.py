"""An OpenAPI 3.1 document out of a table of operations and the pydantic models that they name.

The table says what a route is for; the models say what is checked, so that the document cannot say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from .errors import GatewayError, response_headers

Model = type[BaseModel]
Schema = dict[str, Any]

REF = "#/components/schemas/{model}"
#: What is put before a model's name where another module has one of that name; else it is the module's name.
_PREFIXES = {"openai": "Chat"}


@dataclass(frozen=True)
class Events:
    """A stream of server-sent events.

    Attributes:
        data: what each event's `data` is, as JSON.
        example: the stream as it travels.
        done: whether ``[DONE]`` ends it.
    """

    data: Model
    example: str
    done: bool = False


@dataclass(frozen=True)
class Lines:
    """A stream of JSON objects, one a line.

    Attributes:
        data: what each line is.
        example: the stream as it travels.
    """

    data: Model
    example: str


@dataclass(frozen=True)
class Reply:
    """What comes back on success.

    Attributes:
        body: None for an answer without one.
        example: of the body.
        events: the answer to ``"stream": true``.
        lines: the answer unless ``"stream": false``.
        table: the same as CSV, an example of it.
        media: of the body; any but JSON is text, whose model is not looked at.
        etag: whether it carries an entity tag.
    """

    description: str
    body: Model | None = None
    example: object = None
    events: Events | None = None
    lines: Lines | None = None
    table: str = ""
    media: str = "application/json"
    etag: bool = False


@dataclass(frozen=True)
class Problem:
    """What a status of 400 or above means, and one that has it."""

    description: str
    example: GatewayError


@dataclass(frozen=True)
class Dialect:
    """How errors look, and what callers can prove themselves with.

    Attributes:
        name: in front of the names of its components.
        envelope: of an error.
        render: an error's body.
        security: names of the schemes, besides the cookie.
    """

    name: str
    envelope: Model
    render: Callable[[GatewayError], Mapping[str, object]]
    security: Sequence[str]


@dataclass(frozen=True)
class Parameter:
    """One in the path, the query or a header."""

    name: str
    where: str
    description: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A method of a path.

    Attributes:
        route: as in ``GET /v1/models/{model}``.
        request: the body's model.
        examples: of the body, by what they show.
        replies: by status.
        errors: statuses of the `Problem`s that it may have.
    """

    route: str
    tag: str
    summary: str
    description: str = ""
    dialect: Dialect
    parameters: Sequence[Parameter] = ()
    request: Model | None = None
    examples: Mapping[str, object] = field(default_factory=dict)
    replies: Mapping[int, Reply]
    errors: Sequence[int]

    @property
    def method(self) -> str:
        """In lower case, as OpenAPI has it."""
        return self.route.partition(" ")[0].lower()

    @property
    def path(self) -> str:
        """With ``{name}`` for its parameters."""
        return self.route.partition(" ")[2]

    @property
    def id(self) -> str:
        """A name that no other operation has."""
        return re.sub(r"\W+", "_", self.route).strip("_").lower()


class _Generator(GenerateJsonSchema):
    """Pydantic's schemas without what only repeats: a title made of each field's name, and null for the absent."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = super().default_schema(schema)
        if generated.get("default", ...) is None:
            del generated["default"]
        return generated


def paths_and_components(operations: Sequence[Operation], problems: Sequence[Problem]) -> dict[str, Any]:
    """The parts ``paths`` and ``components`` of the document; the security schemes are the caller's to add."""
    schemas = Schemas(_models(operations))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, schemas)
    dialects = {operation.dialect.name: operation.dialect for operation in operations}
    responses = {
        _error_name(dialect, problem.example.status): _error(dialect, problem, schemas)
        for dialect in dialects.values()
        for problem in problems
    }
    return {
        "paths": paths,
        "components": {"schemas": schemas.definitions, "responses": responses, "headers": _HEADERS},
    }


class Schemas:
    """The JSON schemas of some models and of all that they refer to.

    Attributes:
        definitions: by component name.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        refs, document = models_json_schema(
            [(model, "validation") for model in dict.fromkeys(models)], ref_template=REF, schema_generator=_Generator
        )
        generated: dict[str, Schema] = document["$defs"]
        self._names = {name: _short(name) for name in generated}
        if len(set(self._names.values())) != len(self._names):
            raise ValueError("two models would have one name")
        self._refs = {model: self._tidied(ref) for (model, _), ref in refs.items()}
        self.definitions = {self._names[name]: self._tidied(schema) for name, schema in generated.items()}

    def ref(self, model: Model) -> Schema:
        """A reference to the model's schema."""
        return dict(self._refs[model])

    def _tidied(self, node: Any) -> Any:
        """The same with short names, and with code as Markdown and JSON have it, not as docstrings do."""
        if isinstance(node, list):
            return [self._tidied(item) for item in node]
        if isinstance(node, dict):
            return {key: self._tidied(value) for key, value in node.items()}
        if not isinstance(node, str):
            return node
        name = node.removeprefix(REF.removesuffix("{model}"))
        if name != node:
            return REF.format(model=self._names[name])
        return node.replace("``", "`").replace("`None`", "`null`")


def _short(name: str) -> str:
    """``ResponsesMessage`` for ``bodhi_jupyter__wire__responses__Message``, as pydantic calls one of several."""
    module, _, last = name.rpartition("__")
    file = module.rpartition("__")[2]
    return _PREFIXES.get(file, file.title().replace("_", "")) + last


def _models(operations: Iterable[Operation]) -> Iterator[Model]:
    for operation in operations:
        yield operation.dialect.envelope
        if operation.request is not None:
            yield operation.request
        for reply in operation.replies.values():
            if reply.body is not None:
                yield reply.body
            yield from (stream.data for stream in (reply.events, reply.lines) if stream is not None)


_HEADERS: dict[str, Schema] = {
    "x-request-id": {"description": "The request's name in the server's log.", "schema": {"type": "string"}},
    "x-should-retry": {
        "description": "Whether another attempt makes sense; OpenAI's SDKs heed it.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    "retry-after": {
        "description": "Seconds after which another attempt makes sense.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "ETag": {"description": "Names this state; for `If-Match`.", "schema": {"type": "string"}},
}


def _headers(*names: str) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    document: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": _security(operation),
        "responses": {
            **{str(status): _reply(reply, schemas) for status, reply in operation.replies.items()},
            **{
                str(status): {"$ref": f"#/components/responses/{_error_name(operation.dialect, status)}"}
                for status in operation.errors
            },
        },
    }
    if operation.description:
        document["description"] = operation.description
    if operation.parameters:
        document["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.request is not None:
        body = {"schema": schemas.ref(operation.request), "examples": _examples(operation.examples)}
        document["requestBody"] = {"required": True, "content": {"application/json": body}}
    return document


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Any of these; what changes something needs the XSRF token beside a cookie."""
    with_cookie = ("cookie",) if operation.method == "get" else ("cookie", "xsrf")
    alternatives = [*((name,) for name in operation.dialect.security), with_cookie]
    return [{name: [] for name in names} for names in alternatives]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _examples(examples: Mapping[str, object]) -> dict[str, Any]:
    """Each with what it shows as its summary."""
    return {
        re.sub(r"\W+", "-", summary).strip("-").lower(): {"summary": summary, "value": value}
        for summary, value in examples.items()
    }


def _reply(reply: Reply, schemas: Schemas) -> dict[str, Any]:
    document: dict[str, Any] = {"description": reply.description}
    content: dict[str, Any] = {}
    if reply.body is not None:
        content[reply.media] = {"schema": schemas.ref(reply.body), "example": reply.example}
    elif reply.media != "application/json":
        content[reply.media] = {"schema": {"type": "string"}}
    if reply.events is not None:
        content["text/event-stream"] = {"schema": _event(reply.events, schemas), "example": reply.events.example}
    if reply.lines is not None:
        content["application/x-ndjson"] = {"schema": schemas.ref(reply.lines.data), "example": reply.lines.example}
    if reply.table:
        content["text/csv"] = {"schema": {"type": "string"}, "example": reply.table}
    if content:
        document["content"] = content
    return {**document, "headers": _headers("x-request-id", *(("ETag",) if reply.etag else ()))}


def _event(events: Events, schemas: Schemas) -> Schema:
    """One event: OpenAPI 3.1 has no word for a sequence, and its readers take the schema of a stream so."""
    content = {"type": "string", "contentMediaType": "application/json", "contentSchema": schemas.ref(events.data)}
    return {
        "type": "object",
        "description": "One server-sent event; a stream is any number of them."
        + (" The last one's data is `[DONE]`, unless it tells of an error." if events.done else ""),
        "properties": {
            "event": {"type": "string", "description": "The kind of event, as in `data`."},
            "data": {"oneOf": [{"const": "[DONE]"}, content]} if events.done else content,
        },
        "required": ["data"],
    }


def _error_name(dialect: Dialect, status: int) -> str:
    return f"{dialect.name}{status}"


def _error(dialect: Dialect, problem: Problem, schemas: Schemas) -> dict[str, Any]:
    body = {"schema": schemas.ref(dialect.envelope), "example": dialect.render(problem.example)}
    return {
        "description": problem.description,
        "headers": _headers("x-request-id", *response_headers(problem.example)),
        "content": {"application/json": body},
    }
