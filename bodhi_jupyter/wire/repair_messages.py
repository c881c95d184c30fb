"""What llama.cpp gets wrong in the messages of a chat, put right: one small function per wrong, as in `repair`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .messages import (
    AssistantMessage,
    FunctionMessage,
    InstructionMessage,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)

_Message = InstructionMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage
_PLAIN_ROLES = frozenset({"system", "user", "assistant", "tool"})
_PLAIN_FIELDS = frozenset({"role", "content"})
#: Fields whose null llama.cpp does not take for absent (measured): other programs write all that a message may have.
_NO_NULLS = frozenset({"name", "tool_call_id", "reasoning_content"})
_BREAKPOINT = "prompt_cache_breakpoint"


def messages_need_repair(messages: Iterable[_Message]) -> bool:
    """Whether `mend_messages` would change anything."""
    for message in messages:
        # Nearly all of them, told apart in a tenth of a microsecond.
        plain = isinstance(message.content, str) and message.role in _PLAIN_ROLES
        if not (plain and message.model_fields_set <= _PLAIN_FIELDS) and _needs_repair(message):
            return True
    return False


def mend_messages(messages: list[dict[str, Any]]) -> None:
    """Put the checked messages of a body right, in place."""
    call_functions_as_tools(messages)
    for message in messages:
        drop_nulls(message)
        developer_to_system(message)
        name_reasoning(message)
        say_refusals(message)
        complete_calls(message)
        drop_breakpoints(message)


def drop_nulls(message: dict[str, Any]) -> None:
    """Null where llama.cpp answers 500 to it (measured)."""
    for key in _NO_NULLS & message.keys():
        if message[key] is None:
            del message[key]


def developer_to_system(message: dict[str, Any]) -> None:
    """``developer`` is a role that templates of open models do not know; to them it is ``system``."""
    if message["role"] == "developer":
        message["role"] = "system"


def name_reasoning(message: dict[str, Any]) -> None:
    """Thoughts in the history: OpenRouter, vLLM and Ollama say `reasoning`, llama.cpp `reasoning_content`."""
    if message["role"] == "assistant" and message.get("reasoning") is not None:
        thoughts = message.pop("reasoning")
        if message.get("reasoning_content") is None:
            message["reasoning_content"] = thoughts


def say_refusals(message: dict[str, Any]) -> None:
    """A refusal is what the assistant said: llama.cpp answers 400 to both of its forms (measured)."""
    if message["role"] != "assistant":
        return
    refusal, content = message.get("refusal"), message.get("content")
    if refusal is not None and not content:
        message["content"] = refusal
    if isinstance(content, list):
        message["content"] = [
            {"type": "text", "text": part["refusal"]} if part["type"] == "refusal" else part for part in content
        ]
    elif message.get("content") is None and "tool_calls" not in message:
        message["content"] = ""  # thoughts alone: "must contain either 'content' or 'tool_calls'" (measured)


def complete_calls(message: Mapping[str, Any]) -> None:
    """A call without its type, or without arguments, as some models write it: llama.cpp answers 500 to both (measured).

    OpenAI's clients read the text of the arguments as JSON.
    """
    for call in message.get("tool_calls") or []:
        call.setdefault("type", "function")
        function = call.get("function")
        if isinstance(function, dict) and not str(function.get("arguments") or "").strip():
            function["arguments"] = "{}"


def drop_breakpoints(message: dict[str, Any]) -> None:
    """``prompt_cache_breakpoint`` of a part is for OpenAI's cache (OpenAI spec 2.3.0)."""
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        part.pop(_BREAKPOINT, None)


def call_functions_as_tools(messages: list[dict[str, Any]]) -> None:
    """The deprecated `function_call` and the role ``function``: llama.cpp loses the call (measured)."""
    last = ""
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and message.get("function_call") is not None:
            last = f"call_{index}"
            call = {"id": last, "type": "function", "function": message.pop("function_call")}
            message["tool_calls"] = [*(message.get("tool_calls") or []), call]
        elif message["role"] == "function":
            message["role"] = "tool"
            message["tool_call_id"] = last or f"call_{index}"
            message["content"] = message.get("content") or ""


def _needs_repair(message: _Message) -> bool:
    if any(getattr(message, key) is None for key in _NO_NULLS & message.model_fields_set):
        return True
    match message:
        case AssistantMessage():
            return _assistant_needs_repair(message)
        case InstructionMessage(role="developer") | FunctionMessage():
            return True
        case _:
            return not isinstance(message.content, str) and _has_breakpoint(message.content)


def _assistant_needs_repair(message: AssistantMessage) -> bool:
    content = message.content
    if message.reasoning is not None or message.refusal is not None or message.function_call is not None:
        return True
    if content is None and not message.tool_calls:
        return True
    if isinstance(content, list) and (
        any(isinstance(part, RefusalPart) for part in content) or _has_breakpoint(content)
    ):
        return True
    return any(
        "type" not in call.model_fields_set or (call.function and not call.function.arguments.strip())
        for call in message.tool_calls or []
    )


def _has_breakpoint(parts: Iterable[TextPart | Any]) -> bool:
    return any(part.model_extra and _BREAKPOINT in part.model_extra for part in parts)
