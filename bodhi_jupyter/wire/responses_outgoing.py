"""From a checked request of ``/v1/responses`` to the body that llama.cpp understands as it was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .answer_rules import AnswerRules, CallRule, TextRule, own_schema_rule, rules_of
from .errors import InvalidField
from .hosted import RESPONSES_HOSTED
from .json_text import parsed_text
from .misread import drop_empty_stops, without_nulls
from .openai import JsonSchemaFormat, ResponseFormat
from .responses import (
    AllowedTools,
    FunctionCallItem,
    FunctionTool,
    NamedFunction,
    ResponsesRequest,
    SchemaFormat,
    TextConfig,
    with_types,
)
from .schema import with_any


def refuse_unsupported(request: ResponsesRequest) -> None:
    """Refuse what the engine lacks or would leave out without a word.

    Raises:
        InvalidField: `param` names the field.
    """
    for field, reason in (
        ("previous_response_id", "responses are not stored; send the earlier items in 'input'"),
        ("conversation", "conversations are not stored; send the earlier items in 'input'"),
        ("prompt", "stored prompts exist only at OpenAI; send the text in 'instructions' and 'input'"),
    ):
        if getattr(request, field) is not None:
            raise _unsupported(field, reason)
    if request.background:
        raise _unsupported("background", "a response lives as long as its request; use 'stream'")
    if request.top_logprobs or "message.output_text.logprobs" in (request.include or ()):
        field = "top_logprobs" if request.top_logprobs else "include"
        raise _unsupported(field, "log probabilities are available in /v1/chat/completions")
    for field in ("n", "n_cmpl"):
        if (request.model_extra or {}).get(field) not in (None, 1):
            raise _unsupported(field, "a response is one answer; /v1/chat/completions gives several")
    _check_arguments(request)
    _check_tool_choice(request)


def _unsupported(field: str, reason: str) -> InvalidField:
    return InvalidField(f"'{field}' is not supported here: {reason}.", param=field, code="unsupported_parameter")


def _check_arguments(request: ResponsesRequest) -> None:
    for index, item in enumerate(request.input if isinstance(request.input, list) else []):
        if isinstance(item, FunctionCallItem) and item.arguments.strip() and not _is_object(item.arguments):
            # The engine answers 500 (measured), and an SDK would ask again and again.
            raise InvalidField(
                f"Invalid 'input[{index}].arguments': expected a JSON object as text.",
                param=f"input[{index}].arguments",
            )


def _is_object(text: str) -> bool:
    try:
        return isinstance(parsed_text(text), dict)
    except ValueError:
        return False


def _check_tool_choice(request: ResponsesRequest) -> None:
    choice, known = request.tool_choice, {tool.name for tool in request.tools or ()}
    if choice == "required" and not known:
        raise InvalidField("Invalid 'tool_choice': 'required' needs at least one tool.", param="tool_choice")
    for name in _chosen(request):
        if name not in known:
            raise InvalidField(f"Invalid 'tool_choice': there is no tool named '{name}'.", param="tool_choice")


def _chosen(request: ResponsesRequest) -> list[str]:
    """The functions that `tool_choice` names; [] where it leaves all."""
    if isinstance(request.tool_choice, NamedFunction):
        return [request.tool_choice.name]
    if isinstance(request.tool_choice, AllowedTools):
        return [tool.name for tool in request.tool_choice.tools]
    return []


def to_engine(data: Mapping[str, Any], request: ResponsesRequest) -> dict[str, Any]:
    """The caller's body as llama.cpp's ``/v1/responses`` takes it; unknown fields go through untouched.

    Nulls are dropped, since the engine refuses ``"tools": null`` (measured). A non-streamed answer is asked for as
    a stream, too, so that a caller who leaves stops it.
    """
    body = {key: value for key, value in data.items() if value is not None and key not in RESPONSES_HOSTED}
    body.pop("top_logprobs", None)
    body["stream"] = True
    drop_empty_stops(body)
    if isinstance(body["input"], list):
        body["input"] = list(_items(body["input"]))
    body |= _text_format(body.pop("text", None), request)
    return body | _tools(body.pop("tools", None) or [], body.pop("tool_choice", None), request)


def _text_format(text: Mapping[str, Any] | None, request: ResponsesRequest) -> dict[str, Any]:
    """``text.format`` under the name that is enforced: the engine reads only a chat's `response_format` (measured)."""
    wanted = request.text_format
    if text is None or wanted is None or wanted.type == "text":
        return {}
    if isinstance(wanted, SchemaFormat):
        schema = {key: value for key, value in text["format"].items() if key != "type" and value is not None}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": {"type": wanted.type}}


def _tools(tools: Sequence[Mapping[str, Any]], choice: Any, request: ResponsesRequest) -> dict[str, Any]:
    """Tools and choice in words that are obeyed: an object as choice means "auto" to the engine (llama.cpp#26535)."""
    if not tools or choice == "none":
        return {}
    chosen = frozenset(_chosen(request))
    offered = [_offered(tool) for tool in tools if not chosen or tool["name"] in chosen]
    if isinstance(request.tool_choice, AllowedTools):
        choice = request.tool_choice.mode
    elif chosen:
        choice = "required"
    # Without it the template decides; OpenAI's default is true.
    parallel = request.parallel_tool_calls is not False
    return {"tools": offered, "tool_choice": choice or "auto", "parallel_tool_calls": parallel}


def _offered(tool: Mapping[str, Any]) -> dict[str, Any]:
    offered = without_nulls(tool)
    return {**offered, "parameters": with_any(offered["parameters"])} if "parameters" in offered else offered


def _items(items: Iterable[Any]) -> Iterable[dict[str, Any]]:
    typed = with_types(list(items))
    assert isinstance(typed, list)
    for item in typed:
        if item["type"] == "reasoning":
            yield from _reasoning(item)
        elif item["type"] == "function_call" and not item["arguments"].strip():
            # A call without any, as some models write it: 500 there, too.
            yield {**item, "arguments": "{}"}
        elif item["type"] == "message" and isinstance(item["content"], list):
            yield {**item, "content": [_part(part, item["role"]) for part in item["content"]]}
        else:
            yield item


def _reasoning(item: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """One text where the engine reads only the first, and nothing where there is none, which it refuses (measured)."""
    pieces = item.get("content") or item.get("summary") or []
    text = "\n".join(piece["text"] for piece in pieces)
    if text:
        yield {**item, "summary": item.get("summary") or [], "content": [{"type": "reasoning_text", "text": text}]}


def _part(part: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """A refusal as text, which the engine would refuse; text under the name that it expects of the role (measured)."""
    if part["type"] == "refusal":
        return {"type": "output_text", "text": part["refusal"]}
    if part["type"] in {"input_text", "output_text"}:
        return {**part, "type": "output_text" if role == "assistant" else "input_text"}
    return part


def with_format(request: ResponsesRequest, wanted: ResponseFormat) -> ResponsesRequest:
    """The request as if its caller had said of the text what `wanted` says of a chat's answer."""
    said = wanted.model_dump(by_alias=True, exclude_none=True)
    if isinstance(wanted, JsonSchemaFormat):
        said = {"type": wanted.type, "schema": {}, **said["json_schema"]}
    text = request.text or TextConfig()
    formatted = text.model_copy(update={"format": TextConfig.model_validate({"format": said}).format})
    return request.model_copy(update={"text": formatted})


def response_rules(request: ResponsesRequest) -> AnswerRules | None:
    """What a finished response has to keep to; None for one without tools and formats."""
    return rules_of("The model's answer", _call_rule(request), _text_rule(request))


def _call_rule(request: ResponsesRequest) -> CallRule | None:
    tools, choice = request.tools or [], request.tool_choice
    if choice == "none":
        return CallRule({})
    if not tools:
        return None
    chosen = _chosen(request)
    mode = choice.mode if isinstance(choice, AllowedTools) else choice
    schemas = {
        tool.name: (tool.parameters or {}) if tool.strict else None
        for tool in tools
        if not chosen or tool.name in chosen
    }
    is_due = mode == "required" or isinstance(choice, NamedFunction)
    return CallRule(schemas, is_due, is_parallel=request.parallel_tool_calls is not False)


def _text_rule(request: ResponsesRequest) -> TextRule | None:
    wanted, place = request.text_format, "'text.format'"
    if isinstance(wanted, SchemaFormat):
        return TextRule(f"{place}, which is 'strict'", wanted.schema_) if wanted.strict else TextRule(place)
    if wanted is None or wanted.type == "text":
        return own_schema_rule(request.json_schema)
    return TextRule(place, is_object=True)


def response_frame(request: ResponsesRequest, model: str, created_at: int) -> dict[str, Any]:
    """What a response object says of its request, all required keys included; llama.cpp leaves them out (measured).

    `temperature` and `top_p` are null where the model's own defaults hold.
    """
    reasoning = request.reasoning
    return {
        "created_at": created_at,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.effort if reasoning else None, "summary": None},
        "store": False,
        "temperature": request.temperature,
        "text": {"format": _format_of(request)},
        "tool_choice": _choice_of(request),
        "tools": [_tool_of(tool) for tool in request.tools or ()],
        "top_p": request.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _format_of(request: ResponsesRequest) -> dict[str, Any]:
    wanted = request.text_format
    return wanted.model_dump(by_alias=True, exclude_none=True) if wanted else {"type": "text"}


def _choice_of(request: ResponsesRequest) -> str | dict[str, Any]:
    choice = request.tool_choice
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    return choice.model_dump()


def _tool_of(tool: FunctionTool) -> dict[str, Any]:
    return {"strict": True, "parameters": None, **tool.model_dump(exclude_none=True)}
