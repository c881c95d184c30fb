"""Requests of ``/v1/chat/completions``: which fields, which ranges, which roles and parts (OpenAI spec 2.3.0).

The models check a request and are then thrown away: what is forwarded is what the caller sent, so that
fields we have never heard of arrive. Unknown fields are therefore allowed everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .errors import InvalidField
from .held import HeldModel
from .lenient import Items, Lenient
from .messages import IMAGE_HOSTS, AudioPart, ImagePart, Message, UserMessage, image_host
from .schema import check_schema_field, check_strict_schema_field
from .validation import fault, parse_request

INT64 = 2**63

#: Of functions and of schemas alike.
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class FunctionDefinition(Lenient):
    """A function the model may call; `parameters` is a JSON schema."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_strict_parameters(self) -> FunctionDefinition:
        if self.strict:
            check_strict_schema_field(self.parameters, "parameters")
        return self


class FunctionTool(Lenient):
    """``{"type": "function", "function": {...}}``."""

    type: Literal["function"]
    function: FunctionDefinition


class CustomTool(Lenient):
    """``{"type": "custom", "custom": {...}}``: no engine here offers custom tools, so they are refused."""

    type: Literal["custom"]

    @model_validator(mode="after")
    def _refuse(self) -> CustomTool:
        raise fault("", "custom tools are not available here, only tools of type 'function'.", code="unsupported")


Tool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]


class FunctionName(Lenient):
    """``{"name": ...}``."""

    name: Annotated[str, Field(min_length=1)]


class NamedChoice(Lenient):
    """``{"type": "function", "function": {"name": ...}}``: this one must be called."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(Lenient):
    """Some of the tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[Items[NamedChoice], Field(min_length=1)]


class AllowedChoice(Lenient):
    """``{"type": "allowed_tools", "allowed_tools": {...}}``."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class CustomChoice(CustomTool):
    """``{"type": "custom", "custom": {"name": ...}}``: refused as custom tools are."""


ToolChoice = (
    Literal["none", "auto", "required"]
    | Annotated[NamedChoice | AllowedChoice | CustomChoice, Field(discriminator="type")]
)


class TextFormat(Lenient):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(Lenient):
    """Any JSON object; llama.cpp also takes a `schema` here."""

    type: Literal["json_object"]
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _check_schema(self) -> JsonObjectFormat:
        check_schema_field(self.schema_, "schema")
        return self


class JsonSchema(Lenient):
    """A named JSON schema."""

    name: Name
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> JsonSchema:
        check = check_strict_schema_field if self.strict else check_schema_field
        check(self.schema_, "schema")
        return self


class JsonSchemaFormat(Lenient):
    """JSON that fits a schema, enforced by a grammar."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


def schema_of(wanted: ResponseFormat) -> dict[str, Any] | None:
    """The JSON schema that an answer of this format fits; None for free text."""
    if isinstance(wanted, JsonSchemaFormat):
        return wanted.json_schema.schema_ or {}
    return None if isinstance(wanted, TextFormat) else wanted.schema_ or {"type": "object"}


def _enforceable(schema: dict[str, Any]) -> dict[str, Any]:
    check_schema_field(schema, "")
    return schema


class OwnSchema(Lenient):
    """llama.cpp's own field for a schema: what is none it passes over, and beside a grammar it fails (measured)."""

    json_schema: Annotated[dict[str, Any], AfterValidator(_enforceable)] | None = None

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.json_schema is not None and (self.model_extra or {}).get("grammar"):
            raise fault("json_schema", "an answer cannot be held to it and to a 'grammar': send one of them.")
        return self


class Formatted(Lenient):
    """A format alone."""

    response_format: ResponseFormat


class StreamOptions(Lenient):
    """What a stream carries besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def asked_for_usage(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request for a chat or a completion, as one for a stream that ends with its usage."""
    return {**body, "stream": True, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}


Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]


def _until_first_wrong(biases: Any) -> Any:
    """The first wrong bias alone, where there is one: the check behind this would tell of all that it sees."""
    if isinstance(biases, dict):
        for token, bias in biases.items():
            if bias is not False and (type(bias) not in {int, float} or not -100 <= bias <= 100):
                return {token: bias}
    return biases


#: llama.cpp's ``false`` forbids a token, and its list form also takes text for a token (llama.cpp server README).
LogitBias = (
    Annotated[dict[str, Bias | Literal[False]], BeforeValidator(_until_first_wrong)]
    | Items[tuple[int | str, Bias | Literal[False]]]
)
#: How many there are to be to one prompt.
Answers = Annotated[int, Field(ge=1, le=128)]
TWO_NUMBERS = "it is another name of 'n': send one of them."
#: -1 is llama.cpp's "no limit"; 0 is sent by real SDK calls and means one token there (measured).
TokenLimit = Annotated[int, Field(ge=-1, lt=2**31)]


class ChatRequest(OwnSchema, HeldModel):
    """``POST /v1/chat/completions``."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[Items[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Answers | None = None
    n_cmpl: Answers | None = Field(None, description="llama.cpp's name for `n`.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | Annotated[Items[str], Field(max_length=4)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    seed: Annotated[int, Field(ge=-INT64, lt=INT64)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[Items[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[Items[FunctionDefinition], Field(min_length=1, max_length=128)] | None = None
    function_call: Literal["none", "auto"] | FunctionName | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    modalities: Items[Literal["text", "audio"]] | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise fault("top_logprobs", "it is only allowed where 'logprobs' is true.")
        if self.n_cmpl is not None and self.n not in (None, self.n_cmpl):
            raise fault("n_cmpl", TWO_NUMBERS)
        if self.modalities is not None and "audio" in self.modalities:
            raise fault("modalities", "audio answers are not available here, only ['text'].", code="unsupported")
        if self.functions is not None or self.function_call is not None:
            _check_functions(self)
        if self.tool_choice is not None and self.tool_choice not in ("none", "auto"):
            _check_tool_choice(self)
        return self

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.n or self.n_cmpl or 1

    @property
    def reports_usage(self) -> bool:
        """Whether the answer carries `usage`: a whole one always, a stream when asked."""
        return not self.stream or bool(self.stream_options and self.stream_options.include_usage)

    @property
    def calls_possible(self) -> bool:
        """Whether the model is offered any tools."""
        if self.functions:
            return self.function_call != "none"
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def call_is_due(self) -> bool:
        """Whether the model has to call a tool."""
        match self.tool_choice:
            case AllowedChoice(allowed_tools=allowed):
                return allowed.mode == "required"
            case NamedChoice() | "required":
                return True
            case _:
                return isinstance(self.function_call, FunctionName)

    @property
    def asks_format(self) -> bool:
        """Whether the text has to have a form."""
        return self.response_format is not None or self.json_schema is not None

    @property
    def strict_schema(self) -> dict[str, Any] | None:
        """The JSON schema that an answer must fit."""
        if isinstance(self.response_format, JsonSchemaFormat) and self.response_format.json_schema.strict:
            return self.response_format.json_schema.schema_
        return None

    @property
    def schema_field(self) -> str:
        """Where the schema stands that the engine reads: a format's comes before those of the tools (measured)."""
        if isinstance(self.response_format, JsonSchemaFormat | JsonObjectFormat):
            return "response_format"
        if self.json_schema is not None:
            return "json_schema"
        return "functions" if self.functions is not None else "tools"


def _check_functions(request: ChatRequest) -> None:
    if request.functions is None:
        raise fault("function_call", "it is only allowed where 'functions' are specified.")
    if request.tools:
        raise fault("functions", "it is the old form of 'tools': send one of them.")
    if isinstance(request.function_call, FunctionName):
        known = {function.name for function in request.functions}
        _check_known(request.function_call.name, known, "function_call.name", "functions")


def _check_tool_choice(request: ChatRequest) -> None:
    if not request.tools:
        raise fault("tool_choice", "it is only allowed where 'tools' are specified.")
    known = {tool.function.name for tool in request.tools if isinstance(tool, FunctionTool)}
    if isinstance(request.tool_choice, NamedChoice):
        _check_known(request.tool_choice.function.name, known, "tool_choice.function.name", "tools")
    elif isinstance(request.tool_choice, AllowedChoice):
        for index, tool in enumerate(request.tool_choice.allowed_tools.tools):
            _check_known(tool.function.name, known, f"tool_choice.allowed_tools.tools[{index}].function.name", "tools")


def _check_known(name: str, known: Collection[str], field: str, among: str) -> None:
    if name not in known:
        raise fault(field, f"'{name[:64]}' is not among the '{among}'.")


def parse_chat(body: bytes, *, image_hosts: Collection[str] = ()) -> ChatRequest:
    """The body of a chat, checked.

    Args:
        body: JSON, as it came.
        image_hosts: host names from which the gateway is willing to fetch images; `remote_images` finds them.

    Raises:
        MalformedBody: it is not a JSON object.
        InvalidField: a field is missing, mistyped, out of range, or does not fit another; `param` names it.
    """
    return parse_request(ChatRequest, body, context={IMAGE_HOSTS: image_hosts})


#: Index of its message, index of its part, http(s) URL.
RemoteImage = tuple[int, int, str]


def remote_images(request: ChatRequest) -> list[RemoteImage]:
    """Images to be fetched."""
    return [
        (message, part, content.image_url.url)
        for message, part, content in _media(request)
        if isinstance(content, ImagePart) and image_host(content.image_url.url) is not None
    ]


def check_modalities(request: ChatRequest, modalities: Collection[str]) -> None:
    """Refuse what the model cannot take in; llama.cpp would answer 500 (measured).

    Args:
        request: as it came.
        modalities: of the model's input: ``text``, ``image``, ``audio`` (`architecture.input_modalities` in llama.cpp's
            ``/v1/models``).

    Raises:
        InvalidField: a message has an image or sound that the model cannot read.
    """
    for message, part, content in _media(request):
        kind = "image" if isinstance(content, ImagePart) else "audio"
        if kind not in modalities:
            raise InvalidField(
                f"The model does not take {kind} input.",
                param=f"messages[{message}].content[{part}]",
                code="unsupported_content",
            )


def _media(request: ChatRequest) -> Iterator[tuple[int, int, ImagePart | AudioPart]]:
    for index, message in enumerate(request.messages):
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            for position, part in enumerate(message.content):
                if isinstance(part, ImagePart | AudioPart):
                    yield index, position, part
