"""From a checked request of ``/v1/messages`` to the body that llama.cpp understands as it was meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answer_rules import AnswerRules, CallRule, rules_of
from .anthropic import BudgetedThinking, CountTokensRequest, MessagesRequest, NamedTool, Tool
from .errors import InvalidField
from .hosted import ANTHROPIC_HOSTED
from .misread import drop_empty_stops
from .schema import with_any
from .schema_answers import strictly

#: The engine's ``/v1/messages`` drops these without a word (measured), and the text would be unconstrained.
_CONSTRAINTS = ("output_format", "response_format", "grammar", "json_schema")


def refuse_unsupported(request: CountTokensRequest) -> None:
    """Refuse what the engine would leave out without a word, and what contradicts itself.

    Raises:
        InvalidField: `param` names the field.
    """
    extra = request.model_extra or {}
    output = extra.get("output_config")
    if isinstance(output, dict) and output.get("format") is not None:
        raise _unsupported("output_config.format", "use /v1/chat/completions with 'response_format'")
    refuse_constraints(extra)
    if extra.get("mcp_servers"):
        raise _unsupported("mcp_servers", "tools are run by the caller")
    _check_tools(request)
    if isinstance(request, MessagesRequest) and isinstance(request.thinking, BudgetedThinking):
        budget = request.thinking.budget_tokens
        if request.max_tokens <= budget:
            raise InvalidField(f"It must be greater than `thinking.budget_tokens`, {budget}.", param="max_tokens")


def refuse_constraints(fields: Mapping[str, Any]) -> None:
    """Refuse what would hold the answer to a schema or a grammar, among the fields of the caller or of an alias.

    Raises:
        InvalidField: `param` names the field.
    """
    for field in _CONSTRAINTS:
        if fields.get(field) is not None:
            raise _unsupported(field, "use /v1/chat/completions with 'response_format'")


def _unsupported(field: str, reason: str) -> InvalidField:
    return InvalidField(f"Not supported here: {reason}.", param=field, code="unsupported_parameter")


def _check_tools(request: CountTokensRequest) -> None:
    choice, known = request.tool_choice, {tool.name for tool in request.tools or ()}
    if isinstance(choice, NamedTool) and choice.name not in known:
        raise InvalidField(f"There is no tool named '{choice.name}'.", param="tool_choice.name")
    if choice is not None and choice.type == "any" and not known:
        raise InvalidField("'any' needs at least one tool.", param="tool_choice")


def to_engine(data: Mapping[str, Any], request: CountTokensRequest) -> dict[str, Any]:
    """The caller's body as llama.cpp's ``/v1/messages`` takes it; unknown fields go through untouched."""
    body = {key: value for key, value in data.items() if value is not None and key not in ANTHROPIC_HOSTED}
    body["messages"] = [turn for message in body["messages"] for turn in _results_first(_with_text_documents(message))]
    drop_empty_stops(body, "stop_sequences")
    choice = request.tool_choice
    if choice is not None and choice.type == "none":
        # The engine knows no such choice and would let the model call (measured).
        body.pop("tools", None)
        body.pop("tool_choice", None)
    if isinstance(choice, NamedTool):
        # To the engine it means any of the tools (its source).
        body["tools"] = [tool for tool in body["tools"] if tool["name"] == choice.name]
    if tools := body.get("tools"):
        body["tools"] = [{**tool, "input_schema": with_any(tool["input_schema"])} for tool in tools]
    if request.thinking is not None and request.thinking.type == "disabled":
        # The engine does not look at it (measured), the model's template does.
        wishes = body.get("chat_template_kwargs", {})
        if isinstance(wishes, dict):
            body["chat_template_kwargs"] = {"enable_thinking": False, **wishes}
    return body


def message_rules(request: CountTokensRequest) -> AnswerRules | None:
    """What a finished message has to keep to; None for one without tools."""
    choice, tools = request.tool_choice, request.tools or []
    if choice is not None and choice.type == "none":
        tools = []
    elif not tools:
        return None
    # What `strict` promises at Anthropic was not looked at with the request: as far as it can be kept.
    schemas = {tool.name: strictly(tool.input_schema) if _is_strict(tool) else None for tool in tools}
    if isinstance(choice, NamedTool):
        schemas = {choice.name: schemas[choice.name]}
    is_due = choice is not None and choice.type in ("any", "tool")
    return rules_of("The model's answer", CallRule(schemas, is_due), None)


def _is_strict(tool: Tool) -> bool:
    return (tool.model_extra or {}).get("strict") is True


def _with_text_documents(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Documents of plain text as text, since the engine drops documents without a word (measured)."""
    content = message["content"]
    if isinstance(content, str):
        return message
    return {**message, "content": [_as_text(block) if block["type"] == "document" else block for block in content]}


def _results_first(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A turn of tools' results and more as two: of one the engine makes a text with the results behind (measured)."""
    content = message["content"]
    results = [] if isinstance(content, str) else [block for block in content if block["type"] == "tool_result"]
    if not results or len(results) == len(content):
        return [message]
    rest = [block for block in content if block["type"] != "tool_result"]
    return [{**message, "content": results}, {**message, "content": rest}]


def _as_text(document: Mapping[str, Any]) -> dict[str, Any]:
    title = document.get("title")
    text = document["source"]["data"]
    return {"type": "text", "text": f"{title}\n\n{text}" if title else text}
