"""OpenAI's routes that are not here: what belongs to a hosted service, or to kinds of models that are not run here."""

from __future__ import annotations

from .errors import NotSupported

#: First step of the path below ``/v1`` (OpenAI spec 2.3.0 and the paths in OpenAI's Python SDK 3), and what it is.
HOSTED_ROUTES = {
    "admin": "Administration of an organization",
    "agents": "Hosted agents",
    "assistants": "The Assistants API",
    "audio": "Speech and transcription",
    "batches": "The Batch API",
    "chatkit": "ChatKit",
    "containers": "Code containers",
    "content_provenance_checks": "Content provenance checks",
    "conversations": "Stored conversations",
    "decisions": "Decisions",
    "edits": "The Edits API",
    "engines": "The Engines API (now `/v1/models`)",
    "evals": "The Evals API",
    "files": "File storage",
    "fine-tunes": "Fine-tuning",
    "fine_tuning": "Fine-tuning",
    "images": "Image generation",
    "live": "The live API",
    "moderations": "Moderation",
    "organization": "Administration of an organization",
    "projects": "Administration of an organization",
    "realtime": "The Realtime API",
    "safety": "Safety reports",
    "skills": "Stored skills",
    "threads": "The Assistants API",
    "uploads": "File storage",
    "vaults": "Vaults",
    "vector_stores": "Vector stores",
    "videos": "Video generation",
    "webhook_endpoints": "Webhooks",
    "webhook_event_types": "Webhooks",
}


def hosted_route_error(route: str) -> NotSupported:
    """The error for `route`, one of `HOSTED_ROUTES`."""
    return NotSupported(
        f"{HOSTED_ROUTES[route]} (/v1/{route}) exists at OpenAI and is not offered by this server, which runs "
        "language and embedding models: use /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, "
        "/v1/rerank or /v1/models.",
        code="unsupported_endpoint",
    )
