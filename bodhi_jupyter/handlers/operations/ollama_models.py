"""Ollama's models, as OpenAPI describes them: listed, shown, got, made, copied, deleted."""

from __future__ import annotations

from typing import Any

from ...wire.answers_ollama import PullList, Running, Shown, Status, Tags, Version
from ...wire.ollama import OllamaModelRequest
from ...wire.ollama_manage import OllamaCopyRequest, OllamaCreateRequest
from ...wire.openapi import Lines, Operation, Parameter, Reply
from .common import ALWAYS, OLLAMA, OPENAI, WITH_BODY

TAG = "Ollama's models"

_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "1.7B",
    "quantization_level": "Q8_0",
    "context_length": 40960,
    "embedding_length": 2048,
}
_NAMED: dict[str, Any] = {
    "name": "some-org/some-model-GGUF:Q8_0",
    "model": "some-org/some-model-GGUF:Q8_0",
    "size": 1834426016,
    "digest": "9f13ba1299afea09d9a956fc6a85becc99115a6d596fae201a5487a03bdc4368",
    "details": _DETAILS,
}
_TAG = {**_NAMED, "modified_at": "2026-11-25T20:04:05.000000Z", "capabilities": ["completion", "tools"]}
_RUNNING = {**_NAMED, "expires_at": "2026-11-25T20:09:05.000000Z", "size_vram": 0, "context_length": 4096}
_SHOWN = {
    "modelfile": "FROM some-org/some-model-GGUF:Q8_0",
    "parameters": "temperature                    0.3",
    "template": "{{ messages }}",
    "details": _DETAILS,
    "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 4096},
    "capabilities": ["completion", "tools"],
    "modified_at": "2026-11-25T20:04:05.000000Z",
}
_PULL_LINES = """\
{"status":"pulling manifest"}
{"status":"pulling 9f13ba1299af","digest":"sha256:9f13ba1299afea09","total":1834426016,"completed":917213008}
{"status":"success"}
"""
_CREATE_LINES = """\
{"status":"using existing model default"}
{"status":"success"}
"""
_NAME = {"A model": {"model": "some-org/some-model-GGUF:Q8_0"}}
_SUCCESS = {"status": "success"}
_PULL = {
    "id": "pull_89b0f2a8102e",
    "model": "some-org/some-model-GGUF:Q8_0",
    "state": "running",
    "status": "pulling 9f13ba1299af",
    "total": 1834426016,
    "completed": 917213008,
    "error": "",
    "started": 1795637045,
}
_PULL_ID = Parameter("pull", "path", "The pull's id.", {"type": "string", "minLength": 1})

OPERATIONS = [
    Operation(
        route="GET /api/version",
        tag=TAG,
        summary="Tell the version of Ollama whose API this is",
        dialect=OLLAMA,
        replies={200: Reply("The version.", Version, {"version": "0.32.0"})},
        errors=ALWAYS,
    ),
    Operation(
        route="GET /api/tags",
        tag=TAG,
        summary="List the models",
        dialect=OLLAMA,
        replies={200: Reply("All models, the default first.", Tags, {"models": [_TAG]})},
        errors=ALWAYS,
    ),
    Operation(
        route="GET /api/ps",
        tag=TAG,
        summary="List the loaded models",
        dialect=OLLAMA,
        replies={200: Reply("Those that are loaded here.", Running, {"models": [_RUNNING]})},
        errors=ALWAYS,
    ),
    Operation(
        route="POST /api/show",
        tag=TAG,
        summary="Show a model",
        dialect=OLLAMA,
        request=OllamaModelRequest,
        examples=_NAME,
        replies={200: Reply("What is known of it.", Shown, _SHOWN)},
        errors=(404, 503, *WITH_BODY),
    ),
    Operation(
        route="POST /api/pull",
        tag=TAG,
        summary="Get a model from the Hugging Face hub",
        description="`hf.co/org/repo:quant`, `org/repo:quant`, `org/repo` or `org/repo/file.gguf`. What came stays "
        "when it is cut off; it ends when the last one who waits for it leaves.",
        dialect=OLLAMA,
        request=OllamaModelRequest,
        examples=_NAME,
        replies={200: Reply("How far it is.", Status, _SUCCESS, lines=Lines(Status, _PULL_LINES))},
        errors=(404, 503, 507, *WITH_BODY),
    ),
    Operation(
        route="POST /api/create",
        tag=TAG,
        summary="Make a model out of another",
        description="An alias with a system prompt, parameters, a Jinja template.",
        dialect=OLLAMA,
        request=OllamaCreateRequest,
        examples={"A tutor": {"model": "tutor", "from": "default", "system": "Explain as to a beginner."}},
        replies={200: Reply("How far it is.", Status, _SUCCESS, lines=Lines(Status, _CREATE_LINES))},
        errors=(404, 501, 503, *WITH_BODY),
    ),
    Operation(
        route="POST /api/copy",
        tag=TAG,
        summary="Give a model a second name",
        dialect=OLLAMA,
        request=OllamaCopyRequest,
        examples={"A copy": {"source": "tutor", "destination": "tutor-short"}},
        replies={200: Reply("It has.")},
        errors=(404, 503, *WITH_BODY),
    ),
    Operation(
        route="DELETE /api/delete",
        tag=TAG,
        summary="Delete a model",
        description="An alias's file, or the model's own on this disk; 409 while requests are being answered by it.",
        dialect=OLLAMA,
        request=OllamaModelRequest,
        examples=_NAME,
        replies={200: Reply("It is gone.")},
        errors=(404, 409, 503, *WITH_BODY),
    ),
    Operation(
        route="GET /bodhi/v1/pulls",
        tag=TAG,
        summary="List the pulls",
        dialect=OPENAI,
        replies={
            200: Reply("Those under way and those lately finished.", PullList, {"object": "list", "data": [_PULL]})
        },
        errors=ALWAYS,
    ),
    Operation(
        route="DELETE /bodhi/v1/pulls/{pull}",
        tag=TAG,
        summary="Stop a pull",
        description="For everybody who waits for it; what came stays.",
        dialect=OPENAI,
        parameters=(_PULL_ID,),
        replies={204: Reply("It stops.")},
        errors=(404, *ALWAYS),
    ),
]
