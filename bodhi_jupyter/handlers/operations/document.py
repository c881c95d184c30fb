"""Every operation of ours as OpenAPI describes it: the table, and the document made of it.

A route that is missing here fails a test. Loaded when somebody asks for the document.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ... import __version__
from ...wire.hosted_routes import HOSTED_ROUTES
from ...wire.openapi import paths_and_components
from . import anthropic, bodhi, models, ollama, ollama_models, openai, responses, usage
from .common import PROBLEMS

OPERATIONS = [
    *openai.OPERATIONS,
    *responses.OPERATIONS,
    *anthropic.OPERATIONS,
    *ollama.OPERATIONS,
    *ollama_models.OPERATIONS,
    *models.OPERATIONS,
    *bodhi.OPERATIONS,
    *usage.OPERATIONS,
]

_TAGS = {
    openai.CHAT: "OpenAI's chat, answered by llama.cpp or by any server behind this one.",
    openai.TEXT: "Text that goes on, vectors, rankings.",
    responses.TAG: "OpenAI's Responses, without a memory: nothing is stored.",
    anthropic.TAG: "Anthropic's Messages. Errors have Anthropic's shape, and `x-api-key` takes a key.",
    ollama.TAG: "Ollama's API in its own formats: a JSON object a line, durations in nanoseconds.",
    ollama_models.TAG: "Models as Ollama lists, gets, makes, copies and deletes them.",
    models.TAG: "Which models there are, and whether they are loaded.",
    bodhi.ALIASES: "Aliases: names for models, with defaults, one file each.",
    usage.TAG: "What happened, over time and lately.",
    bodhi.SERVER: "Health, keys, this documentation.",
}

_ABOUT = f"""
The local AI beside this Jupyter server: OpenAI's, Ollama's and Anthropic's APIs over the models on this machine and
on the servers that are configured.

**Keys.** The Jupyter server's token and the scoped keys that each kernel is given are bearer keys. A page of this
server is known by its cookie, and sends `X-XSRFToken` with everything that is not a `GET`.

**Models.** `GET /v1/models` lists them; `default` stands for one of them.

**Fields.** Those described here are checked. Others go through to the backend untouched (`min_p`, `grammar`,
`chat_template_kwargs` ...); null means absent. What only means something at a hosted service (`store`, `metadata`,
`service_tier` ...) is accepted and ignored.

**Errors.** Each tells in `code` what happened and in `param` where. `x-should-retry` tells whether another attempt
makes sense. A configured server's refusal keeps its own status. A stream that breaks ends with an error event.

**No place for a key.** Ollama's routes and those below `/v1` are again below `/bodhi/ollama/<key>/`, for clients that
know an address alone.

**Not here.** OpenAI's other routes below `/v1/` answer 501: {", ".join(HOSTED_ROUTES)}. So do Ollama's `/api/push` and
`/api/blobs`: nothing is uploaded.
""".strip()


def document(*, server: str, cookie: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document.

    Args:
        server: the base URL's path, which stands before every path.
        cookie: the name of the cookie by which Jupyter knows a browser.
    """
    described = _described()
    components = {**described["components"], "securitySchemes": _security_schemes(cookie)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "bodhi-jupyter", "version": __version__, "description": _ABOUT},
        "servers": [{"url": server.rstrip("/") or "/"}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": described["paths"],
        "components": components,
    }


@cache
def _described() -> dict[str, Any]:
    # Measured: 0.3 s, nearly all of it pydantic's.
    return paths_and_components(OPERATIONS, PROBLEMS)


def _security_schemes(cookie: str) -> dict[str, Any]:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "The Jupyter server's token, or a scoped key.",
        },
        "token": {
            "type": "apiKey",
            "in": "query",
            "name": "token",
            "description": "The Jupyter server's token.",
        },
        "x-api-key": {
            "type": "apiKey",
            "in": "header",
            "name": "x-api-key",
            "description": "The same keys, as Anthropic's clients send them.",
        },
        "cookie": {"type": "apiKey", "in": "cookie", "name": cookie, "description": "Of somebody who has logged in."},
        "xsrf": {
            "type": "apiKey",
            "in": "header",
            "name": "X-XSRFToken",
            "description": "Beside the cookie: the value of the cookie `_xsrf`, as proof that a page of ours asks.",
        },
    }
