"""What llama.cpp gets wrong in chats, put right in the request; `repair_answers` does it for answers.

One small function per wrong, each with its source. Tables say when a function is needed, so that a request without
any need costs next to nothing and is forwarded as the caller's own bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .hosted import OPENAI_HOSTED
from .misread import drop_empty_stops, drop_text_biases, has_empty_stop, has_text_bias, without_nulls
from .openai import AllowedChoice, ChatRequest, FunctionDefinition, FunctionName, FunctionTool, NamedChoice
from .repair_messages import mend_messages, messages_need_repair
from .schema import says_true, with_any
from .validation import parse_object

#: Most requests have no other fields: these never need a repair.
_PLAIN = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "response_format",
    }
)

#: What says the form of a text. A grammar says that of the whole answer, and is the caller's own to fit.
TEXT_FORMATS = ("response_format", "json_schema")


def repair_chat(request: ChatRequest, body: bytes) -> dict[str, Any] | None:
    """The request as llama.cpp should get it, or None where the body can be forwarded as it is.

    Args:
        request: the checked body.
        body: as the caller sent it; parsed only where something has to change.
    """
    needed = [] if request.model_fields_set <= _PLAIN else [one.mend for one in REPAIRS if one.is_needed(request)]
    if messages_need_repair(request.messages):
        needed.append(_mend_messages)
    if not needed:
        return None
    data = without_nulls(parse_object(body))
    for mend in needed:
        mend(data, request)
    return data


def must_not_stream(request: ChatRequest) -> bool:
    """Whether a whole answer has to be asked for as one.

    "logprobs is not supported with tools + stream" is a 400 of llama.cpp (measured). A stream that the caller asked
    for gets that refusal.
    """
    return bool(request.logprobs) and request.calls_possible


# -- tools -----------------------------------------------------------------------------------------------------------


def enforce_tool_choice(data: dict[str, Any], request: ChatRequest) -> None:
    """A tool by name, or some of them: llama.cpp takes an object for ``auto`` (llama.cpp#26535; measured).

    The other tools are left out, and one is required. OpenAI answers with one call where one function is named.
    """
    choice = request.tool_choice
    if isinstance(choice, NamedChoice):
        _keep_tools(data, {choice.function.name})
        data["tool_choice"] = "required"
        data.setdefault("parallel_tool_calls", False)
    elif isinstance(choice, AllowedChoice):
        _keep_tools(data, {tool.function.name for tool in choice.allowed_tools.tools})
        data["tool_choice"] = choice.allowed_tools.mode


def _keep_tools(data: dict[str, Any], names: set[str]) -> None:
    data["tools"] = [tool for tool in data["tools"] if tool["function"]["name"] in names]


def drop_tools(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """``tool_choice: "none"``: the templates show the tools all the same, and ``logprobs`` is refused (measured)."""
    for key in ("tools", "tool_choice", "parallel_tool_calls"):
        data.pop(key, None)


def say_parallel_tool_calls(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """OpenAI's default is true, llama.cpp's depends on the template (llama.cpp server README)."""
    data.setdefault("parallel_tool_calls", True)


def functions_to_tools(data: dict[str, Any], request: ChatRequest) -> None:
    """The deprecated `functions` and `function_call`, which llama.cpp ignores (measured); they allow one call."""
    functions = data.pop("functions")
    choice = data.pop("function_call", "auto")
    if choice == "none":
        return
    if isinstance(request.function_call, FunctionName):
        functions = [function for function in functions if function["name"] == request.function_call.name]
        choice = "required"
    data["tools"] = [{"type": "function", "function": function} for function in functions]
    data["tool_choice"] = choice
    data["parallel_tool_calls"] = False


def say_any(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """``true`` in the schema of a tool; see `schema.with_any`."""
    for tool in data.get("tools") or []:
        if parameters := tool["function"].get("parameters"):
            tool["function"]["parameters"] = with_any(parameters)


def drop_formats(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """Of the text, where a call is due: llama.cpp would hold the call to them, and none would come (measured)."""
    for key in TEXT_FORMATS:
        data.pop(key, None)


def drop_null_descriptions(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """Null for a function's description, where llama.cpp answers 500 to it (measured)."""
    for tool in data.get("tools") or []:
        if tool["function"].get("description", "") is None:
            del tool["function"]["description"]


# -- parameters ------------------------------------------------------------------------------------------------------


def ask_for_one_alternative(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """``logprobs`` without alternatives: llama.cpp sends 20 of them, and for an explicit 0 no logprobs (measured).

    One is asked for, and taken out of the answer (`repair_answers`).
    """
    data["top_logprobs"] = 1


def disable_thinking(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """``reasoning_effort: "none"``: said as the templates hear it; engines older than ours do not see to it."""
    options = data.setdefault("chat_template_kwargs", {})
    if isinstance(options, dict):
        options.setdefault("enable_thinking", False)


def drop_hosted_only(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    """What only a hosted service could do; see `hosted.OPENAI_HOSTED`."""
    for key in data.keys() & OPENAI_HOSTED:
        del data[key]


# -- when --------------------------------------------------------------------------------------------------------------


class Repair(NamedTuple):
    """A wrong: whether a request has to do with it, and how its body is changed in place."""

    is_needed: Callable[[ChatRequest], bool]
    mend: Callable[[dict[str, Any], ChatRequest], None]


def _mend_messages(data: dict[str, Any], request: ChatRequest) -> None:  # noqa: ARG001
    mend_messages(data["messages"])


def _has_hosted_only(request: ChatRequest) -> bool:
    return request.modalities is not None or bool(request.model_extra and OPENAI_HOSTED & request.model_extra.keys())


def _functions(request: ChatRequest) -> list[FunctionDefinition]:
    tools = [tool.function for tool in request.tools or [] if isinstance(tool, FunctionTool)]
    return [*tools, *(request.functions or [])]


def _has_true_for_any(request: ChatRequest) -> bool:
    return any(says_true(function.parameters) for function in _functions(request))


def _has_null_description(request: ChatRequest) -> bool:
    return any(one.description is None and "description" in one.model_fields_set for one in _functions(request))


REPAIRS = (
    Repair(lambda request: request.functions is not None, functions_to_tools),
    Repair(lambda request: isinstance(request.tool_choice, NamedChoice | AllowedChoice), enforce_tool_choice),
    Repair(lambda request: request.tool_choice == "none", drop_tools),
    Repair(lambda request: request.call_is_due and request.asks_format, drop_formats),
    Repair(
        lambda request: bool(request.tools) and request.parallel_tool_calls is None and request.calls_possible,
        say_parallel_tool_calls,
    ),
    Repair(_has_true_for_any, say_any),
    Repair(_has_null_description, drop_null_descriptions),
    Repair(lambda request: bool(request.logprobs) and not request.top_logprobs, ask_for_one_alternative),
    Repair(lambda request: has_text_bias(request.logit_bias), lambda data, _: drop_text_biases(data)),
    Repair(lambda request: has_empty_stop(request.stop), lambda data, _: drop_empty_stops(data)),
    Repair(lambda request: request.reasoning_effort == "none", disable_thinking),
    Repair(_has_hosted_only, drop_hosted_only),
)
