"""The messages of a chat: which roles, and which parts each of them may have (OpenAI spec 2.3.0)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from .errors import InvalidField
from .json_text import parsed_text
from .lenient import Items, Lenient
from .validation import fault

#: In pydantic's validation context: the hosts from which images may be fetched.
IMAGE_HOSTS = "image_hosts"
_INVALID_URL = "invalid_image_url"


def image_host(url: str) -> str | None:
    """The host that an image would be fetched from, "" where the URL is none; None for an image that is sent along."""
    if url[:7].lower() == "http://" or url[:8].lower() == "https://":
        try:
            parts = urlsplit(url)
            has_port = parts.port is None or parts.port > 0
        except ValueError:  # "http://[", or a port of 99999
            return ""
        return parts.hostname if parts.hostname and has_port else ""
    return None


def _wrong_with(url: str, allowed: Collection[str] = ()) -> str | None:
    """Images are sent along: llama.cpp would fetch URLs, and open ``file:`` paths, from inside the network."""
    host = image_host(url)
    if host is None:
        is_sent_along = url[:5].lower() == "data:" and ";base64," in url[:256]
        return None if is_sent_along else "expected a URL that begins with 'data:image/...;base64,'."
    if host in allowed:
        return None
    return "images are not fetched from this host. Send the image itself: 'data:image/...;base64,'."


def _check_image_url(url: str, info: ValidationInfo) -> str:
    if says := _wrong_with(url, (info.context or {}).get(IMAGE_HOSTS, ())):
        raise fault("", says, code=_INVALID_URL)
    return url


def refuse_fetching(body: object, where: str = "") -> None:
    """Refuse images that are not in the body, of a body that is passed on as it is: any ``image_url``, however deep.

    Raises:
        InvalidField: an image is not in the body itself; `param` names it.
    """
    if isinstance(body, list):
        for index, item in enumerate(body):
            refuse_fetching(item, f"{where}[{index}]")
    elif isinstance(body, dict):
        for key, value in body.items():
            field = f"{where}.{key}" if where else key
            address = value.get("url") if key == "image_url" and isinstance(value, dict) else value
            if key == "image_url" and isinstance(address, str) and (says := _wrong_with(address)):
                raise InvalidField(f"Invalid '{field}': {says}", param=field, code=_INVALID_URL)
            refuse_fetching(value, field)


#: An image in the request itself, or one that may be fetched.
ImageAddress = Annotated[str, AfterValidator(_check_image_url)]


def _check_arguments(arguments: str) -> str:
    """llama.cpp answers 500 to arguments that are not JSON (measured); none at all is mended (see `repair`)."""
    if arguments.strip():
        try:
            parsed_text(arguments)
        except ValueError:
            raise fault("", "expected JSON, as text.") from None
    return arguments


class TextPart(Lenient):
    """``{"type": "text", "text": ...}``."""

    type: Literal["text"]
    text: str


class ImageUrl(Lenient):
    """A ``data:`` URL, and how closely to look."""

    url: ImageAddress
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Lenient):
    """``{"type": "image_url", "image_url": {"url": ...}}``."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Lenient):
    """Base64 data and its format."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Lenient):
    """``{"type": "input_audio", "input_audio": {...}}``."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FilePart(Lenient):
    """``{"type": "file", "file": {...}}``: no backend reads files."""

    type: Literal["file"]

    @model_validator(mode="after")
    def _refuse(self) -> FilePart:
        raise fault("", "files are not available here. Send their text, or their pages as images.", code="unsupported")


class RefusalPart(Lenient):
    """``{"type": "refusal", "refusal": ...}``, in an assistant's message."""

    type: Literal["refusal"]
    refusal: str


TextParts = Annotated[Items[TextPart], Field(min_length=1)]
UserParts = Annotated[
    Items[Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]], Field(min_length=1)
]
AssistantParts = Annotated[Items[Annotated[TextPart | RefusalPart, Field(discriminator="type")]], Field(min_length=1)]


class FunctionCall(Lenient):
    """A function's name and its arguments as JSON text."""

    name: Annotated[str, Field(min_length=1)]
    arguments: Annotated[str, AfterValidator(_check_arguments)]


class ToolCall(Lenient):
    """A call made by the model in an earlier turn."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | None = None

    @model_validator(mode="after")
    def _call_a_function(self) -> ToolCall:
        if self.type == "custom":
            raise fault("type", "calls of custom tools are not available here, only 'function'.", code="unsupported")
        if self.function is None:
            raise fault("function", "a call needs its function.", code="missing_required_parameter")
        return self


class InstructionMessage(Lenient):
    """What the model is told about its task."""

    role: Literal["system", "developer"]
    content: str | TextParts
    name: str | None = None


class UserMessage(Lenient):
    """What a person says."""

    role: Literal["user"]
    content: str | UserParts
    name: str | None = None


class AssistantMessage(Lenient):
    """What the model said; without content only where it said or did something else."""

    role: Literal["assistant"]
    content: str | AssistantParts | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Items[ToolCall] | None = None
    function_call: FunctionCall | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _say_something(self) -> AssistantMessage:
        if self.content is not None or self.tool_calls:
            return self
        said = (self.refusal, self.reasoning_content, self.reasoning, self.function_call)
        if all(one is None for one in said):
            raise fault(
                "content",
                "an assistant's message needs content where it has no tool_calls.",
                code="missing_required_parameter",
            )
        return self


class ToolMessage(Lenient):
    """A tool's result."""

    role: Literal["tool"]
    content: str | TextParts
    tool_call_id: str


class FunctionMessage(Lenient):
    """A function's result, in the deprecated form."""

    role: Literal["function"]
    name: Annotated[str, Field(min_length=1)]
    content: str | None = None


Message = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]
