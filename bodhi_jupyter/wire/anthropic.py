"""Anthropic's ``/v1/messages``: requests, the shape of errors and of models (Anthropic's API reference and SDK 2.14).

llama.cpp turns a request into a chat and takes over a handful of fields (its source, measured): what it would leave
out without a word, and what would change the answer, is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from .errors import GatewayError
from .held import HeldModel
from .lenient import Items, Lenient


class TextBlock(Lenient):
    """``{"type": "text", "text": ...}``."""

    type: Literal["text"]
    text: str


class Base64Source(Lenient):
    """An image in the request itself."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class ImageBlock(Lenient):
    """An image; one that is to be fetched from a URL is refused, as it would reach into the engine's network."""

    type: Literal["image"]
    source: Base64Source


class PlainText(Lenient):
    """A document's text."""

    type: Literal["text"]
    data: str


class DocumentBlock(Lenient):
    """A document; llama.cpp reads no files, so it must be text."""

    type: Literal["document"]
    source: PlainText
    title: str | None = None


class ToolUseBlock(Lenient):
    """A call made by the model in an earlier turn."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


ResultBlock = Annotated[TextBlock | ImageBlock, Field(discriminator="type")]


class ToolResultBlock(Lenient):
    """A tool's result."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | Items[ResultBlock] | None = None
    is_error: bool | None = None


class ThinkingBlock(Lenient):
    """What the model thought in an earlier turn."""

    type: Literal["thinking"]
    thinking: str


class RedactedThinkingBlock(Lenient):
    """Thoughts that only Anthropic can read; left out."""

    type: Literal["redacted_thinking"]


Block = Annotated[
    TextBlock | ImageBlock | DocumentBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedThinkingBlock,
    Field(discriminator="type"),
]


class Message(Lenient):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: str | Items[Block]


class Tool(Lenient):
    """A tool that the caller runs; Anthropic's own (web search, code execution ...) run there."""

    type: Literal["custom"] | None = None
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: str | None = None
    input_schema: dict[str, Any]


class Calling(Lenient):
    """How many calls an answer may have: any number, or one."""

    disable_parallel_tool_use: bool | None = None


class ToolChoice(Calling):
    """Whether a tool is used, or which."""

    type: Literal["auto", "any", "none"]


class NamedTool(Calling):
    """One tool that must be used."""

    type: Literal["tool"]
    name: str


class Thinking(Lenient):
    """Whether to think, as the model sees fit."""

    type: Literal["disabled", "adaptive", "between_tools"]


class BudgetedThinking(Lenient):
    """How many tokens the thoughts may have."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=1024)]


class CountTokensRequest(HeldModel):
    """``POST /v1/messages/count_tokens``."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[Items[Message], Field(min_length=1)]
    system: str | Items[TextBlock] | None = None
    tools: Items[Tool] | None = None
    tool_choice: Annotated[ToolChoice | NamedTool, Field(discriminator="type")] | None = None
    thinking: Annotated[Thinking | BudgetedThinking, Field(discriminator="type")] | None = None


class MessagesRequest(CountTokensRequest):
    """``POST /v1/messages``."""

    # 0 asks Anthropic to fill its cache; the engine answers one token (measured).
    max_tokens: Annotated[int, Field(ge=0, lt=2**31)]
    stream: bool | None = None
    stop_sequences: Items[str] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None


_BY_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    # Anthropic's own status for it is 529; 503 says the same to everything between us and the caller.
    503: "overloaded_error",
    504: "timeout_error",
}
_INDEX = re.compile(r"\[(\d+)\]")


def anthropic_envelope(error: GatewayError, request_id: str, *, endpoint: str, model: str | None) -> dict[str, object]:
    """The body of an error in Anthropic's shape, which names the field inside the message: ``messages.0.role: ...``."""
    context = ", ".join(part for part in (endpoint, f"model {model!r}" if model else "") if part)
    message = f"{_subject(error)}{error.message}" + (f" ({context})" if context else "")
    kind = _BY_STATUS.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def anthropic_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's model object of ours with what Anthropic's has beside it; both have ``id``, and no name in common."""
    context = model["meta"].get("n_ctx")  # of a configured server's models whatever it tells
    return {
        **model,
        "type": "model",
        "display_name": model["id"],
        "created_at": datetime.fromtimestamp(model["created"], UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": context if isinstance(context, int) else None,
    }


def anthropic_page(ids: Sequence[str]) -> dict[str, Any]:
    """What Anthropic's list of models has beside ``data``: it is whole."""
    return {"has_more": False, "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


def _subject(error: GatewayError) -> str:
    if error.code == "context_length_exceeded":
        # The words that Anthropic's clients look for.
        return "prompt is too long: "
    return _INDEX.sub(r".\1", error.param) + ": " if error.param else ""
