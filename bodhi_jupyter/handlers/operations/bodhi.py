"""Aliases, keys, health and this documentation, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from ...catalog.alias_file import AliasFile
from ...wire.answers import AnswerModel
from ...wire.answers_bodhi import BackendList, BrokenFile, Health, Key, OpenApiDocument, Rendered, TargetList
from ...wire.openapi import Operation, Parameter, Reply
from ..manage_keys import KeyRequest
from ..manage_render import RenderRequest
from .common import ALWAYS, MODEL, OPENAI, WITH_BODY

ALIASES = "Aliases"
SERVER = "Server"

_ALIAS = Parameter(
    "alias", "path", "The alias. A `/` in it may be percent-encoded or not.", {"type": "string", "minLength": 1}
)
_IF_MATCH = Parameter("If-Match", "header", "The `ETag` that was seen: with another one there the answer is 412.")
_FILE: dict[str, Any] = {
    "alias": "tutor",
    "repo": "some-org/some-model-GGUF",
    "filename": "some-model.Q8_0.gguf",
    "request_params": {"temperature": 0.3, "system_prompt": "Explain as to a beginner."},
    "context_params": {"n_ctx": 8192},
}
_EXAMPLES = {
    "A model in the Hugging Face cache": _FILE,
    "A model of a configured server": {"alias": "big", "backend": "gpu-box", "model": "some-model"},
}


class Alias(AliasFile):
    """An alias as it is in its file; `modified` is in seconds since 1970.

    `problem` says why it cannot be used as it is, `problem_param` which field names what is not here.
    """

    read_only: bool
    modified: int
    problem: str | None = None
    problem_param: str | None = None


class AliasList(AnswerModel):
    """The alias files, and those that cannot be used."""

    object: str
    data: list[Alias]
    broken: list[BrokenFile]


class CopyRequest(BaseModel):
    """What the copy is called."""

    model_config = ConfigDict(extra="allow", strict=True)

    alias: str


_STORED: dict[str, Any] = {**_FILE, "read_only": False, "modified": 1795387281}
_TARGETS = {
    "object": "list",
    "data": [
        {"path": "some-model.Q8_0.gguf"},
        {"repo": "some-org/some-model-GGUF", "filename": "some-model.Q8_0.gguf"},
        {"backend": "gpu-box", "model": "some-model"},
    ],
}
_HEALTH = {
    "status": "ok",
    "backends": {"local": {"ok": True, "detail": "nothing is loaded"}},
    "models": {},
    "broken_files": [],
}
_BACKENDS = {
    "object": "list",
    "data": [
        {
            "id": "gpu-box",
            "object": "backend",
            "ok": True,
            "detail": "ready",
            "latency": 0.004,
            "slots": {"total": 4, "busy": 1},
        }
    ],
}

OPERATIONS = [
    Operation(
        route="GET /bodhi/v1/aliases",
        tag=ALIASES,
        summary="List the aliases",
        dialect=OPENAI,
        replies={
            200: Reply("The aliases.", AliasList, {"object": "list", "data": [_STORED], "broken": []}),
        },
        errors=ALWAYS,
    ),
    Operation(
        route="POST /bodhi/v1/aliases",
        tag=ALIASES,
        summary="Make an alias",
        description="It stands for one thing: a file (`path`), a file in the Hugging Face cache (`repo` and "
        "`filename`), or a configured server's model (`backend` and `model`). What is not here may come "
        "later: the answer then has a `problem`, and requests to the alias are refused with 404 until it has come.",
        dialect=OPENAI,
        request=AliasFile,
        examples=_EXAMPLES,
        replies={201: Reply("The alias.", Alias, _STORED, etag=True)},
        errors=(409, 429, *WITH_BODY),
    ),
    Operation(
        route="GET /bodhi/v1/aliases/{alias}",
        tag=ALIASES,
        summary="Show an alias",
        dialect=OPENAI,
        parameters=[_ALIAS],
        replies={200: Reply("The alias.", Alias, _STORED, etag=True)},
        errors=(400, 404, *ALWAYS),
    ),
    Operation(
        route="PUT /bodhi/v1/aliases/{alias}",
        tag=ALIASES,
        summary="Change an alias",
        description="The whole of it; another `alias` in the body renames it. Comments in its file stay.",
        dialect=OPENAI,
        parameters=[_ALIAS, _IF_MATCH],
        request=AliasFile,
        examples={"A model in the Hugging Face cache": _FILE},
        replies={200: Reply("The alias as it is now.", Alias, _STORED, etag=True)},
        errors=(404, 409, 412, 429, *WITH_BODY),
    ),
    Operation(
        route="DELETE /bodhi/v1/aliases/{alias}",
        tag=ALIASES,
        summary="Remove an alias",
        description="Requests that use it keep it until they are done.",
        dialect=OPENAI,
        parameters=[_ALIAS, _IF_MATCH],
        replies={204: Reply("It is gone.")},
        errors=(400, 404, 412, 429, *ALWAYS),
    ),
    Operation(
        route="POST /bodhi/v1/aliases/{model}/copy",
        tag=ALIASES,
        summary="Copy an alias or a model",
        description="Of a model that was found on disk or on a server the copy is an alias that can be changed.",
        dialect=OPENAI,
        parameters=[MODEL],
        request=CopyRequest,
        examples={"A new name": {"alias": "tutor-2"}},
        replies={201: Reply("The copy.", Alias, {**_STORED, "alias": "tutor-2"}, etag=True)},
        errors=(404, 409, 429, *WITH_BODY),
    ),
    Operation(
        route="GET /bodhi/v1/targets",
        tag=ALIASES,
        summary="List what an alias can stand for",
        description="The models on this machine and on the configured servers, by the fields that name them in an "
        "alias, a file in a models folder by its path below that; what is not listed may be named all the same.",
        dialect=OPENAI,
        replies={200: Reply("The models.", TargetList, _TARGETS)},
        errors=ALWAYS,
    ),
    Operation(
        route="POST /bodhi/v1/keys",
        tag=SERVER,
        summary="Make a key",
        description="It opens these routes and no other ones of Jupyter's, until the server ends. A scoped key makes "
        "no keys.",
        dialect=OPENAI,
        request=KeyRequest,
        examples={"For a terminal": {"name": "terminal"}},
        replies={201: Reply("The key.", Key, {"key": "bodhi-...", "name": "terminal"})},
        errors=WITH_BODY,
    ),
    Operation(
        route="GET /bodhi/health",
        tag=SERVER,
        summary="Tell what works",
        description="Broken files and failed models are listed; they do not make the server unwell.",
        dialect=OPENAI,
        replies={
            200: Reply("All backends are well.", Health, _HEALTH),
            503: Reply(
                "A backend is not.",
                Health,
                {**_HEALTH, "status": "degraded", "backends": {"gpu-box": {"ok": False, "detail": "unreachable"}}},
            ),
        },
        errors=ALWAYS,
    ),
    Operation(
        route="GET /bodhi/v1/backends",
        tag=SERVER,
        summary="List the backends",
        dialect=OPENAI,
        replies={200: Reply("The backends.", BackendList, _BACKENDS)},
        errors=ALWAYS,
    ),
    Operation(
        route="POST /bodhi/render",
        tag=SERVER,
        summary="Render Markdown",
        description="Model text as HTML that runs nothing and loads nothing; at most 64 KB. With `growing` the text is "
        "not at its end: `html` has its finished blocks, `rest` and `rest_html` what may still change.",
        dialect=OPENAI,
        request=RenderRequest,
        examples={"A text": {"text": "**Hello**"}, "A text that grows": {"text": "One.\n\nTwo", "growing": True}},
        replies={200: Reply("The HTML.", Rendered, {"html": '<p dir="auto"><strong>Hello</strong></p>\n'})},
        errors=WITH_BODY,
    ),
    Operation(
        route="GET /bodhi/openapi.json",
        tag=SERVER,
        summary="Show this document",
        dialect=OPENAI,
        replies={200: Reply("The document.", OpenApiDocument, {"openapi": "3.1.0", "info": {}, "paths": {}})},
        errors=ALWAYS,
    ),
    Operation(
        route="GET /bodhi",
        tag=SERVER,
        summary="Go to this document",
        description="For people; who has not logged in is led to where one can.",
        dialect=OPENAI,
        replies={302: Reply("`/bodhi/docs`, or where one can log in.", media="text/html")},
        errors=ALWAYS,
    ),
    Operation(
        route="GET /bodhi/docs",
        tag=SERVER,
        summary="Browse this document",
        description="A page for people; who has not logged in is led to where one can.",
        dialect=OPENAI,
        replies={
            200: Reply("The page.", media="text/html"),
            302: Reply("Where one can log in.", media="text/html"),
        },
        errors=ALWAYS,
    ),
]
