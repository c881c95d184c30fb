"""What a chat's answers have to keep to, by its request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from .answer_rules import AnswerRules, CallRule, TextRule, own_schema_rule, rules_of
from .openai import (
    AllowedChoice,
    ChatRequest,
    FunctionDefinition,
    FunctionName,
    FunctionTool,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedChoice,
)


def chat_rules(request: ChatRequest, backend: str) -> AnswerRules | None:
    """What each finished answer to a chat has to keep to; None for one without tools and formats.

    Args:
        request: as the caller sent it.
        backend: its name, for messages.
    """
    is_free = not (request.tools or request.functions or request.response_format) and request.json_schema is None
    if is_free and request.tool_choice is None:
        return None
    return rules_of(f"The answer of the backend {backend!r}", _call_rule(request), _text_rule(request))


def _call_rule(request: ChatRequest) -> CallRule | None:
    if request.functions is not None:
        return _function_rule(request.functions, request.function_call)
    definitions = [tool.function for tool in request.tools or () if isinstance(tool, FunctionTool)]
    chosen = None
    match request.tool_choice:
        case "none":
            return CallRule({})
        case NamedChoice(function=function):
            chosen = {function.name}
        case AllowedChoice(allowed_tools=allowed):
            chosen = {tool.function.name for tool in allowed.tools}
        case _ if not definitions:
            return None
    return CallRule(
        _schemas(definitions, chosen), request.call_is_due, is_parallel=request.parallel_tool_calls is not False
    )


def _function_rule(definitions: Sequence[FunctionDefinition], choice: str | FunctionName | None) -> CallRule:
    """Of the deprecated `functions` and `function_call`."""
    field = "function_call"
    if isinstance(choice, FunctionName):
        return CallRule(_schemas(definitions, {choice.name}), is_due=True, field=field)
    return CallRule({} if choice == "none" else _schemas(definitions), field=field)


def _schemas(
    definitions: Iterable[FunctionDefinition], chosen: Collection[str] | None = None
) -> dict[str, dict[str, Any] | None]:
    """Of all functions, or of the chosen ones; None where it is not ``strict``."""
    return {
        function.name: (function.parameters or {}) if function.strict else None
        for function in definitions
        if chosen is None or function.name in chosen
    }


def _text_rule(request: ChatRequest) -> TextRule | None:
    wanted, place = request.response_format, "'response_format'"
    if isinstance(wanted, JsonObjectFormat):
        # With a schema it may be something else, as llama.cpp has it.
        return TextRule(place, is_object=not wanted.schema_)
    if isinstance(wanted, JsonSchemaFormat):
        if (schema := request.strict_schema) is not None:
            return TextRule(f"{place}, which is 'strict'", schema)
        return TextRule(place)
    return own_schema_rule(request.json_schema)
