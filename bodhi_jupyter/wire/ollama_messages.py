"""Messages of an Ollama chat as an OpenAI chat has them, and an answer back (Ollama API, OpenAI spec 2.3.0)."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from pydantic import Field, model_validator

from .errors import BackendFailed, InvalidField
from .lenient import Items, Lenient
from .media import MEDIA_TYPES, media_type

ROLES = ("system", "developer", "user", "assistant", "tool")

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


class OllamaModel(Lenient):
    """A part of an Ollama request: null means absent, as in Go."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class FunctionCall(OllamaModel):
    """What is called; `arguments` is an object, where OpenAI has text."""

    name: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolCall(OllamaModel):
    """A call that the model made in an earlier turn."""

    id: str = ""
    function: FunctionCall = Field(default_factory=FunctionCall)


class OllamaMessage(OllamaModel):
    """One turn; `images` are base64, and may be sound."""

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: Items[str] = Field(default_factory=list)
    tool_calls: Items[ToolCall] = Field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""


def to_openai_messages(messages: Sequence[OllamaMessage]) -> list[dict[str, Any]]:
    """The messages as ``/v1/chat/completions`` takes them.

    Calls without an id are given one, and a tool's result that does not say whose it is goes to the first unanswered
    call of that name in the latest turn that has one.

    Raises:
        InvalidField: an unknown role, an image that is none, arguments that JSON cannot hold; `param` names it.
    """
    calls = _Calls()
    return [_to_openai(message, f"messages[{index}]", calls) for index, message in enumerate(messages)]


def _to_openai(message: OllamaMessage, where: str, calls: _Calls) -> dict[str, Any]:
    role = message.role.lower()
    if role not in ROLES:
        raise InvalidField(
            f"invalid role: {role[:64]!r} in {where}.role; expected one of {', '.join(ROLES)}", param=f"{where}.role"
        )
    if role == "developer":
        # Templates of open models know it as system.
        role = "system"
    result: dict[str, Any] = {"role": role, "content": content_of(message.content, message.images, where)}
    if role == "assistant":
        if message.thinking:
            result["reasoning_content"] = message.thinking
        if message.tool_calls:
            result["tool_calls"] = calls.made(message.tool_calls, where)
    if role == "tool":
        if message.tool_name:
            result["name"] = message.tool_name
        result["tool_call_id"] = calls.answered(message.tool_call_id, message.tool_name)
    return result


def content_of(text: str, images: Sequence[str], where: str) -> str | list[dict[str, Any]]:
    """Text alone, or the parts of a message with images: the text first.

    Raises:
        InvalidField: an image is not base64, or of an unknown format; `param` names it, below `where`.
    """
    if not images:
        return text
    prefix = f"{where}.images" if where else "images"
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return parts + [_media_part(image, f"{prefix}[{index}]") for index, image in enumerate(images)]


def _media_part(image: str, field: str) -> dict[str, Any]:
    """Base64, or a data URL with it, as a part of a message; what it is, its own first bytes tell."""
    header = _DATA_URL.match(image)
    # Go's decoder skips line breaks, which some clients' encoders add them.
    text = image[header.end() if header else 0 :].replace("\n", "").replace("\r", "")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidField(f"illegal base64 data in {field}", param=field) from None
    mime = media_type(data)
    if mime is None:
        known = ", ".join(mime.partition("/")[2] for mime in MEDIA_TYPES)
        raise InvalidField(f"unknown format of {field}; expected one of {known}", param=field)
    if mime.startswith("audio/"):
        return {"type": "input_audio", "input_audio": {"data": text, "format": mime.removeprefix("audio/")}}
    return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{text}"}}


#: A turn, counted backwards, and a call in it.
_Place = tuple[int, int]


class _Calls:
    """Which calls there were, turn by turn, and which have no result yet."""

    def __init__(self) -> None:
        self._count = 0
        self._turns = 0
        #: Heaps of places and ids: each call under its id, its name and no name; the last turn comes first.
        self._open: defaultdict[tuple[str, str], list[tuple[_Place, str]]] = defaultdict(list)
        self._answered: set[_Place] = set()

    def made(self, calls: Sequence[ToolCall], where: str) -> list[dict[str, Any]]:
        turn: list[dict[str, Any]] = []
        for index, call in enumerate(calls):
            self._count += 1
            arguments = _as_text(call.function.arguments, f"{where}.tool_calls[{index}].function.arguments")
            turn.append(
                {
                    "id": call.id or f"call_{self._count}",
                    "index": index,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": arguments},
                }
            )
        self._turns += 1
        for made in turn:
            entry = ((-self._turns, made["index"]), made["id"])
            for key in {("id", made["id"]), ("name", made["function"]["name"]), ("name", "")}:
                heappush(self._open[key], entry)
        return turn

    def answered(self, call_id: str, name: str) -> str:
        """The id of the call that a result belongs to; a new one where there is none."""
        calls = self._open[("id", call_id) if call_id else ("name", name)]
        while calls:
            place, found = heappop(calls)
            if place not in self._answered:
                self._answered.add(place)
                return found
        self._count += 1
        return call_id or f"call_{self._count}"


def _as_text(arguments: Mapping[str, Any], field: str) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise InvalidField(f"invalid value in {field}: a number is too large for JSON", param=field) from None


def tool_calls_from_openai(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whole calls of an OpenAI message as Ollama has them: arguments as an object, whose keys keep their order.

    Raises:
        BackendFailed: a call is no call of a function, or its arguments are not a JSON object.
    """
    return [_from_openai(index, call) for index, call in enumerate(calls)]


def whole_tool_calls_from_openai(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of an answer that a limit cut: without the last call, where it was being written.

    Raises:
        BackendFailed: as `tool_calls_from_openai`, of a call before it.
    """
    *before, last = calls
    whole = tool_calls_from_openai(before)
    try:
        written = _from_openai(len(before), last)
    except BackendFailed:
        return whole
    # Without a text nobody knows whether one was to come.
    return [*whole, written] if last["function"].get("arguments") else whole


def _from_openai(index: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name := function.get("name"), str):
        raise BackendFailed("The model's tool call has no function.", code="invalid_tool_call")
    result: dict[str, Any] = {"id": call["id"]} if isinstance(call.get("id"), str) and call["id"] else {}
    result["function"] = {"index": index, "name": name, "arguments": _parsed(function.get("arguments"), name)}
    return result


def _parsed(arguments: object, name: str) -> dict[str, Any]:
    # llama.cpp sends no text at all for a function without parameters.
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    try:
        parsed = json.loads(arguments, parse_float=_finite, parse_constant=_finite)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise BackendFailed(
            f"The model called {name[:64]!r} with arguments that are not a JSON object.", code="invalid_tool_call"
        )
    return parsed


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
