"""Requests of Ollama's ``/api/*``, checked (Ollama API).

Bodies are parsed whatever the content type; unknown fields are ignored, null means absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import pydantic_core
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from .duration import parse_duration
from .errors import GatewayError, InvalidField, MalformedBody, ModelNotFound, shown_value
from .lenient import Items
from .names import check_model_name
from .ollama_messages import OllamaMessage, OllamaModel
from .ollama_options import check_options
from .schema import UnfitSchema, check_schema
from .validation import fault, render_path

Request = TypeVar("Request", bound=OllamaModel)

_LEVELS = ("low", "medium", "high", "max")
_GO_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
_GO_TYPES = {
    "string_type": "string",
    "bool_type": "bool",
    "int_type": "int",
    "list_type": "[]interface {}",
    "dict_type": "map[string]interface {}",
}
#: What Python's parser misses, and what Go says of the character that it found there.
_GO_SYNTAX = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after element",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}

#: Escapes in JSON: backslashes, surrogate pairs, or half of such a pair alone, which is the group.
_ESCAPES = re.compile(
    rb"(?:\\\\)+|(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _seconds(value: Any) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise fault("", f"invalid keep_alive: {error}") from None


def _think(value: Any) -> bool | str:
    if isinstance(value, bool) or value in _LEVELS:
        known: bool | str = value
        return known
    raise fault("", f'invalid think value: {_as_json(value)} (must be "high", "medium", "low", "max", true, or false)')


def _format(value: Any) -> str | dict[str, Any] | None:
    if value == "":
        return None
    if isinstance(value, dict):
        try:
            check_schema(value)
        except UnfitSchema as error:
            raise fault("", f"invalid format: {error}", code=error.code) from None
        return value
    if value == "json":
        return "json"
    raise fault("", f'invalid format: {_as_json(value)}; expected "json" or a valid JSON Schema object')


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise fault("", "invalid input type")


def _tool_name(name: str) -> str:
    if not name:
        raise fault("", "a tool's function needs a name")
    return name


def _alternatives(count: int) -> int:
    if not 0 <= count <= 20:
        raise fault("", "top_logprobs must be between 0 and 20")
    return count


def _as_json(value: Any) -> str:
    return shown_value(json.dumps(value, ensure_ascii=False))


KeepAlive = Annotated[Annotated[float, Field(allow_inf_nan=True)] | None, BeforeValidator(_seconds)]
Think = Annotated[bool | str | None, BeforeValidator(_think)]
Format = Annotated[str | dict[str, Any] | None, BeforeValidator(_format)]


class ToolFunction(OllamaModel):
    """What the model may call; `parameters` is a JSON schema."""

    name: Annotated[str, AfterValidator(_tool_name)] = Field(default="", validate_default=True)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)


class Tool(OllamaModel):
    """A function as a tool."""

    type: str = "function"
    function: ToolFunction


class OllamaRequest(OllamaModel):
    """What all requests have: a model, under this name or the older ``name``."""

    model: str = ""

    @model_validator(mode="before")
    @classmethod
    def _older_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("model") in (None, "") and data.get("name") is not None:
            return {**data, "model": data["name"]}
        return data

    @classmethod
    def without_model(cls) -> GatewayError:
        """The error of this endpoint where no model is named."""
        return InvalidField("model is required", param="model", code="missing_required_parameter")


class _Running(OllamaRequest):
    """What all requests have that run a model; `keep_alive` in seconds, infinity is for ever."""

    keep_alive: KeepAlive = None
    options: dict[str, Any] = Field(default_factory=dict)


class Answering(_Running):
    """What chats and completions have in common."""

    stream: bool = True
    format: Format = None
    think: Think = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, AfterValidator(_alternatives)] = 0


class OllamaChatRequest(Answering):
    """``POST /api/chat``."""

    messages: Items[OllamaMessage] = Field(default_factory=list)
    tools: Items[Tool] = Field(default_factory=list)


class OllamaGenerateRequest(Answering):
    """``POST /api/generate``; `images` are base64, `context` is tokens."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: Items[int] = Field(default_factory=list)
    raw: bool = False
    images: Items[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _what_goes_together(self) -> OllamaGenerateRequest:
        if self.raw and (self.template or self.system or self.context):
            raise fault("raw", "raw mode does not support template, system, or context")
        if self.think and (self.template or self.context):
            # The answer is a text that goes on: what was thought cannot be told from it.
            raise fault("think", "think is not available with template or context", code="unsupported")
        return self

    @classmethod
    def without_model(cls) -> GatewayError:
        """Ollama looks for a model of no name."""
        return ModelNotFound("model '' not found", param="model")


class OllamaEmbedRequest(_Running):
    """``POST /api/embed``; no input at all only loads the model."""

    inputs: Annotated[list[str], BeforeValidator(_texts)] = Field(default_factory=list, alias="input")
    truncate: bool = True
    dimensions: int = 0

    @classmethod
    def without_model(cls) -> GatewayError:
        """Ollama looks for a model of no name."""
        return ModelNotFound("model '' not found", param="model")


class OllamaEmbeddingsRequest(_Running):
    """``POST /api/embeddings``, the older one; an empty prompt only loads the model."""

    prompt: str = ""


class OllamaModelRequest(OllamaRequest):
    """``/api/show``, ``/api/pull``, ``/api/push`` and ``/api/delete``."""

    verbose: bool = False
    stream: bool = True


def parse_ollama(kind: type[Request], body: bytes) -> Request:
    """The body, checked; every text is one that Ollama's clients show as it is.

    Raises:
        MalformedBody: it is empty or is not a JSON object.
        InvalidField: a field is mistyped, out of range or missing; `param` names it.
        WrongOptionType: an option has the wrong type (status 500, as in Ollama).
        ModelNotFound: no model is named, where Ollama answers that with 404.
    """
    data = _parse_object(body, _go_name(kind))
    try:
        request = kind.model_validate(data)
    except ValidationError as error:
        raise _describe(error, _go_name(kind)) from None
    if isinstance(request, OllamaRequest):
        _check_model(request)
    if isinstance(request, _Running):
        check_options(request.options)
    return request


def _check_model(request: OllamaRequest) -> None:
    if not request.model:
        raise request.without_model()
    check_model_name(request.model)


def _parse_object(body: bytes, name: str) -> dict[str, Any]:
    if not body.strip():
        raise MalformedBody("missing request body")
    try:
        data = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        data = _read_again(_with_whole_characters(body))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise MalformedBody(f"json: cannot unmarshal {_go_kind(data)} into Go value of type api.{name}")
    return data


def _with_whole_characters(body: bytes) -> bytes:
    """Half of a surrogate pair as the replacement character: so Go reads it, and JavaScript writes what it cut."""
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def _read_again(body: bytes) -> Any:
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        raise MalformedBody(_go_syntax_error(body)) from None


def _go_syntax_error(body: bytes) -> str:
    """What Go would say, as near as Python's own parser can tell."""
    try:
        json.loads(body, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        found = error.doc[error.pos : error.pos + 1]
        if not found or error.msg.startswith("Unterminated"):
            return "unexpected EOF"
        says = next((says for msg, says in _GO_SYNTAX.items() if error.msg.startswith(msg)), None)
        shown = repr(found) if found != "'" else r"'\''"
        return f"invalid character {shown} {says}" if says else f"invalid JSON: {error.msg.lower()}"
    except UnicodeDecodeError:
        return "invalid UTF-8 in the request body"
    except RecursionError:
        return "exceeded max depth"
    except ValueError as error:
        return str(error) if str(error).startswith("invalid character") else "a number is too large"
    return "exceeded max depth"  # Python still reads it


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")


def _describe(error: ValidationError, name: str) -> InvalidField:
    entry = error.errors(include_url=False)[0]
    path = render_path(entry["loc"])
    if entry["type"] == "fault":
        context: Mapping[str, Any] = entry["ctx"]
        return InvalidField(context["says"], param=path or context["field"] or None, code=context["code"])
    if entry["type"] == "missing":
        return InvalidField(f"{path} is required", param=path, code="missing_required_parameter")
    wanted = _GO_TYPES.get(entry["type"], f"api.{path.rpartition('.')[2].partition('[')[0].title()}")
    return InvalidField(
        f"json: cannot unmarshal {_go_kind(entry['input'])} into Go struct field {name}.{path} of type {wanted}",
        param=path,
        code="invalid_type",
    )


def _go_name(kind: type[OllamaModel]) -> str:
    return kind.__name__.removeprefix("Ollama")


def _go_kind(value: object) -> str:
    return _GO_KINDS.get(type(value), "value")
