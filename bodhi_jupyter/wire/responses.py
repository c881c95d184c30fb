"""Requests of ``/v1/responses``: fields, ranges, items (OpenAI spec 2.3.0), and what is sent to llama.cpp for them.

llama.cpp turns a request into a chat and is stateless (its source, measured): what needs a memory, a hosted tool or
log probabilities is refused here, never silently left out.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticKnownError

from .errors import RequestError
from .held import HeldModel
from .lenient import Items, Lenient
from .messages import ImageAddress
from .openai import OwnSchema
from .schema import check_schema_field, check_strict_schema_field
from .validation import fault


class ResponseNotFound(RequestError):
    """A response is asked for by its id; none is stored."""

    status = 404
    default_code = "response_not_found"


class InputText(Lenient):
    """``{"type": "input_text", "text": ...}``."""

    type: Literal["input_text"]
    text: str


class InputImage(Lenient):
    """``{"type": "input_image", "image_url": ...}``; nothing is fetched, and files by id are not kept here."""

    type: Literal["input_image"]
    image_url: ImageAddress
    detail: Literal["auto", "low", "high", "original"] | None = None


class OutputText(Lenient):
    """``{"type": "output_text", "text": ...}``: what the model said earlier."""

    type: Literal["output_text"]
    text: str


class OutputRefusal(Lenient):
    """``{"type": "refusal", "refusal": ...}``: what the model refused earlier."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[InputText | InputImage | OutputText | OutputRefusal, Field(discriminator="type")]


class Message(Lenient):
    """What somebody said; its ``type`` may be missing."""

    type: Literal["message"]
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Items[Part]


class FunctionCallItem(Lenient):
    """A call made by the model in an earlier turn; `arguments` is JSON text."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(Lenient):
    """A function's result."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | Items[InputText]


class ReasoningText(Lenient):
    """A piece of the model's thoughts, or of their summary."""

    text: str


class ReasoningItem(Lenient):
    """What the model thought in an earlier turn."""

    type: Literal["reasoning"]
    summary: Items[ReasoningText] | None = None
    content: Items[ReasoningText] | None = None


class ItemReference(Lenient):
    """An item of an earlier response by its id, as clients send it that take responses to be stored."""

    type: Literal["item_reference"]

    @model_validator(mode="after")
    def _refuse(self) -> ItemReference:
        raise fault(
            "",
            "responses are not stored here. Send the item itself, as clients do where 'store' is false.",
            code="unsupported_parameter",
        )


Item = Annotated[
    Message | FunctionCallItem | FunctionCallOutput | ReasoningItem | ItemReference, Field(discriminator="type")
]


def with_types(items: object) -> object:
    """The items, those that have a role and no type being messages: OpenAI's "easy" form."""
    if not isinstance(items, list):
        return items
    return [
        {**item, "type": "message"} if isinstance(item, dict) and "role" in item and item.get("type") is None else item
        for item in items
    ]


FunctionName = Annotated[str, Field(min_length=1, max_length=128)]


class FunctionTool(Lenient):
    """A function the model may call; `parameters` is a JSON schema."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_strict_parameters(self) -> FunctionTool:
        if self.strict:
            check_strict_schema_field(self.parameters, "parameters")
        return self


class NamedFunction(Lenient):
    """``{"type": "function", "name": ...}``."""

    type: Literal["function"]
    name: FunctionName


class AllowedTools(Lenient):
    """Some of the tools."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[Items[NamedFunction], Field(min_length=1)]


ToolChoice = Annotated[NamedFunction | AllowedTools, Field(discriminator="type")]


class PlainFormat(Lenient):
    """Free text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(Lenient):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_own_schema(self) -> SchemaFormat:
        check = check_strict_schema_field if self.strict else check_schema_field
        check(self.schema_, "schema")
        return self


FormatOfText = Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")]


class TextConfig(Lenient):
    """The shape of the text."""

    format: FormatOfText | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Lenient):
    """How much to think."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
MOST_METADATA = 16


def _few(metadata: Any) -> Any:
    """Refuse too many entries before each is looked at: the check behind this would tell of all wrong ones."""
    if isinstance(metadata, dict) and len(metadata) > MOST_METADATA:
        limits = {"field_type": "Dictionary", "max_length": MOST_METADATA, "actual_length": len(metadata)}
        raise PydanticKnownError("too_long", limits)
    return metadata


_LIMITS_OF_CHATS = ("max_completion_tokens", "max_tokens", "n_predict")


class ResponsesRequest(OwnSchema, HeldModel):
    """``POST /v1/responses``; without a `model` the default one answers."""

    model: Annotated[str, Field(min_length=1)] | None = None
    input: Annotated[str | Annotated[Items[Item], Field(min_length=1)], BeforeValidator(with_types)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    tools: Items[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    include: Items[str] | None = None
    metadata: (
        Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MOST_METADATA), BeforeValidator(_few)] | None
    ) = None
    truncation: Literal["auto", "disabled"] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None

    @property
    def token_limit(self) -> int | None:
        """Tokens that the answer may have; the engine obeys a chat's names for it, too (measured)."""
        extra = self.model_extra or {}
        said = (self.max_output_tokens, *(extra.get(name) for name in _LIMITS_OF_CHATS))
        return next((limit for limit in said if type(limit) is int and limit >= 0), None)

    @property
    def text_format(self) -> FormatOfText | None:
        """The format of the text, where the caller says one."""
        return self.text.format if self.text else None

    @property
    def schema_field(self) -> str:
        """Where the schema stands that the engine reads: a format's comes before those of the tools (measured)."""
        if isinstance(self.text_format, SchemaFormat):
            return "text.format"
        return "tools" if self.json_schema is None else "json_schema"
