"""Every route of ours, in the order in which they are looked for. Paths are below the server's base URL."""

from __future__ import annotations

from .handlers import (
    anthropic,
    completions,
    embeddings,
    manage_aliases,
    manage_docs,
    manage_health,
    manage_keys,
    manage_models,
    manage_pulls,
    manage_render,
    manage_usage,
    models,
    openai,
    passthrough,
    responses,
)
from .handlers.ollama import chat as ollama_chat
from .handlers.ollama import embed as ollama_embed
from .handlers.ollama import generate as ollama_generate
from .handlers.ollama import manage as ollama_manage
from .handlers.ollama import models as ollama_models
from .handlers.ollama.keyed import keyed

OLLAMA_ROUTES = [
    *ollama_chat.default_handlers,
    *ollama_generate.default_handlers,
    *ollama_embed.default_handlers,
    *ollama_models.default_handlers,
    *ollama_manage.default_handlers,
]

V1_ROUTES = [
    *openai.default_handlers,
    *models.default_handlers,
    *completions.default_handlers,
    *embeddings.default_handlers,
    *passthrough.default_handlers,
    *responses.default_handlers,
    *anthropic.default_handlers,
    *openai.last_handlers,
]

ROUTES = [
    *V1_ROUTES,
    *OLLAMA_ROUTES,
    *manage_health.default_handlers,
    *manage_keys.default_handlers,
    *manage_aliases.default_handlers,
    *manage_models.default_handlers,
    *manage_pulls.default_handlers,
    *manage_usage.default_handlers,
    *manage_docs.default_handlers,
    *manage_render.default_handlers,
]

#: Again for clients that know an address and no key; some speak OpenAI's API to what they call Ollama.
KEYED_ROUTES = keyed([*OLLAMA_ROUTES, *V1_ROUTES])
