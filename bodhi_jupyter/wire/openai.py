"""Requests of ``/v1/*``: which fields, which ranges, which roles and parts (OpenAI spec 2.3.0).

The models check a request and are then thrown away: what is forwarded is what the caller sent, so that
fields we have never heard of arrive. Unknown fields are therefore allowed everywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

INT64 = 2**63


class _Lenient(BaseModel):
    """Strict about the types of the fields it knows, silent about those it does not."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)


class TextPart(_Lenient):
    """``{"type": "text", "text": ...}``."""

    type: Literal["text"]
    text: str


class ImageUrl(_Lenient):
    """A ``data:`` or http(s) URL, and how closely to look."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Lenient):
    """``{"type": "image_url", "image_url": {"url": ...}}``."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(_Lenient):
    """Base64 data and its format."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(_Lenient):
    """``{"type": "input_audio", "input_audio": {...}}``."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FilePart(_Lenient):
    """``{"type": "file", "file": {...}}``."""

    type: Literal["file"]
    file: dict[str, Any]


class RefusalPart(_Lenient):
    """``{"type": "refusal", "refusal": ...}``, in an assistant's message."""

    type: Literal["refusal"]
    refusal: str


UserPart = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class FunctionCall(_Lenient):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(_Lenient):
    """A call made by the model in an earlier turn."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | None = None


class InstructionMessage(_Lenient):
    """What the model is told about its task."""

    role: Literal["system", "developer"]
    content: str | list[TextPart]


class UserMessage(_Lenient):
    """What a person says."""

    role: Literal["user"]
    content: str | list[UserPart]


class AssistantMessage(_Lenient):
    """What the model said; without content only where it called a tool."""

    role: Literal["assistant"]
    content: str | list[AssistantPart] | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(_Lenient):
    """A tool's result."""

    role: Literal["tool"]
    content: str | list[TextPart]
    tool_call_id: str


class FunctionMessage(_Lenient):
    """A function's result, in the deprecated form."""

    role: Literal["function"]
    name: str
    content: str | None = None


Message = Annotated[
    InstructionMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


class FunctionDefinition(_Lenient):
    """A function the model may call; `parameters` is a JSON schema."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(_Lenient):
    """``{"type": "function", "function": {...}}``."""

    type: Literal["function"]
    function: FunctionDefinition


class CustomTool(_Lenient):
    """``{"type": "custom", "custom": {...}}``."""

    type: Literal["custom"]
    custom: dict[str, Any]


Tool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]


class TextFormat(_Lenient):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(_Lenient):
    """Any JSON object; llama.cpp also takes a `schema` here."""

    type: Literal["json_object"]


class JsonSchema(_Lenient):
    """A named JSON schema."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(_Lenient):
    """JSON that fits a schema, enforced by a grammar."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(_Lenient):
    """What a stream carries besides the text."""

    include_usage: bool | None = None


Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
#: -1 is llama.cpp's "no limit"; 0 is sent by real SDK calls and means one token there (measured).
TokenLimit = Annotated[int, Field(ge=-1, lt=2**31)]


class ChatRequest(_Lenient):
    """``POST /v1/chat/completions``."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Bias] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    seed: Annotated[int, Field(ge=-INT64, lt=INT64)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    user: str | None = None

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.n or 1
