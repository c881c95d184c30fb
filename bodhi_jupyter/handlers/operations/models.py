"""The lists of models, and loading by hand, as OpenAPI describes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...backends.launch import Settings
from ...catalog.context import ContextParams
from ...catalog.gguf_metadata import capabilities, read_metadata
from ...models.box import GUIDE
from ...wire.answers_bodhi import LocalModelState, Model, ModelList
from ...wire.openapi import Operation, Parameter, Reply
from .common import ALWAYS, MODEL, OPENAI

TAG = "Models"
#: Anthropic's clients ask at the same address as OpenAI's.
_OF_BOTH = replace(OPENAI, security=["x-api-key", *OPENAI.security])


def example_of(path: Path) -> dict[str, Any]:
    """The model object of a GGUF file, as `/v1/models` has it."""
    metadata = read_metadata(path)
    return {
        "id": path.stem,
        "object": "model",
        "created": 1795387276,
        "owned_by": "bodhi-jupyter",
        "meta": {
            "backend": "local",
            "state": "idle",
            "size": path.stat().st_size,
            "n_ctx": Settings.of(ContextParams()).context_per_request(metadata.context_length),
            "n_ctx_train": metadata.context_length,
            "n_params": metadata.parameter_count,
            "n_embd": metadata.embedding_length,
            "architecture": metadata.architecture,
            "quantization": metadata.quantization,
            "modalities": ["text"],
            "capabilities": list(capabilities(metadata)),
        },
        "description": GUIDE.description,
    }


_MODEL = example_of(GUIDE.file)

_FILTERS = [
    Parameter("capability", "query", "Only models with it: `completion`, `tools`, `embedding`, `vision` ..."),
    Parameter("owned_by", "query", "Only models of this owner."),
    Parameter("q", "query", "Only models with this in their name, description or tags."),
    Parameter("refresh", "query", "Ask every source now.", {"type": "string", "enum": ["true", "false"]}),
]

OPERATIONS = [
    Operation(
        route="GET /v1/models",
        tag=TAG,
        summary="List the models",
        description="Of a file that was not read yet only its name and size are known; a list by `capability` waits "
        "until every file has been read. Who sends `anthropic-version` finds Anthropic's fields beside OpenAI's, and "
        "errors as Anthropic's are.",
        dialect=_OF_BOTH,
        parameters=_FILTERS,
        replies={200: Reply("The models.", ModelList, {"object": "list", "data": [_MODEL]})},
        errors=(400, *ALWAYS),
    ),
    Operation(
        route="GET /bodhi/v1/models",
        tag=TAG,
        summary="Watch the models",
        description="The list of `/v1/models` for panels, which ask again and again: not counted as use.",
        dialect=OPENAI,
        parameters=_FILTERS,
        replies={200: Reply("The models.", ModelList, {"object": "list", "data": [_MODEL]})},
        errors=(400, *ALWAYS),
    ),
    Operation(
        route="GET /v1/models/{model}",
        tag=TAG,
        summary="Show a model",
        dialect=_OF_BOTH,
        parameters=[MODEL],
        replies={200: Reply("The model.", Model, _MODEL)},
        errors=(400, 404, *ALWAYS),
    ),
    Operation(
        route="POST /bodhi/v1/models/{model}/load",
        tag=TAG,
        summary="Load a local model",
        description="Answers once it is loaded; keep-alive counts from then.",
        dialect=OPENAI,
        parameters=[MODEL],
        replies={200: Reply("It is loaded.", LocalModelState, {"id": "guide", "state": "loaded", "expires_in": 300.0})},
        errors=(400, 404, 429, 503, *ALWAYS),
    ),
    Operation(
        route="POST /bodhi/v1/models/{model}/unload",
        tag=TAG,
        summary="Unload a local model",
        description="Answers once nobody uses it any more and it is gone.",
        dialect=OPENAI,
        parameters=[MODEL],
        replies={200: Reply("It is gone.", LocalModelState, {"id": "guide", "state": "idle", "expires_in": None})},
        errors=(400, 404, *ALWAYS),
    ),
    Operation(
        route="POST /bodhi/v1/models/{model}/stop",
        tag=TAG,
        summary="Stop a local model",
        description="Ends its engine at once, and with it the requests that it answers: for an engine that hangs, or a "
        "load that lasts too long.",
        dialect=OPENAI,
        parameters=[MODEL],
        replies={200: Reply("It is gone.", LocalModelState, {"id": "guide", "state": "idle", "expires_in": None})},
        errors=(400, 404, *ALWAYS),
    ),
]
