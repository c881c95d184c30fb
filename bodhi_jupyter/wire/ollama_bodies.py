"""What llama.cpp is asked for one of Ollama's requests: bodies of its own routes, without the model's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .answer_rules import AnswerRules, CallRule, TextRule, own_schema_rule, rules_of
from .errors import BackendFailed, InvalidField
from .ollama import Answering, OllamaChatRequest, OllamaGenerateRequest, Tool
from .ollama_messages import content_of, to_openai_messages
from .ollama_options import sampling_fields
from .schema import NAMED_SCHEMAS, with_any
from .schema_answers import strictly

#: Words of a schema whose null is a value.
_WORDS_OF_NULL = frozenset({"default", "const"})
#: Those that hold values, and no schemas.
_WORDS_OF_VALUES = frozenset({*_WORDS_OF_NULL, "enum", "examples"})


def chat_body(request: OllamaChatRequest, *, context_length: int | None) -> dict[str, Any]:
    """What the caller of ``/api/chat`` said, as a streamed body of ``/v1/chat/completions`` without its model.

    `ollama_defaults` are not in it, as an alias's own defaults come between.

    Raises:
        InvalidField: a message has an unknown role or an unreadable image; `param` names it.
    """
    body = _chat_fields(request, context_length)
    body["messages"] = to_openai_messages(request.messages)
    if request.tools:
        body["tools"] = [_offered(tool) for tool in request.tools]
    return body


def _offered(tool: Tool) -> dict[str, Any]:
    offered = {**tool.model_dump(exclude_unset=True), "type": "function"}
    if tool.function.parameters:
        offered["function"]["parameters"] = with_any(_without_nulls(tool.function.parameters))
    return offered


def _without_nulls(schema: Any) -> Any:
    """The schema without words that are null, as Go reads and writes what is not set; the engine refuses some."""
    if isinstance(schema, list):
        return [_without_nulls(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        word: _without_nulls_below(word, said)
        for word, said in schema.items()
        if said is not None or word in _WORDS_OF_NULL
    }


def _without_nulls_below(word: str, said: Any) -> Any:
    if word in _WORDS_OF_VALUES:
        return said
    if word in NAMED_SCHEMAS and isinstance(said, dict):
        # Names are anybody's, and may be as words are.
        return {name: _without_nulls(inner) for name, inner in said.items() if inner is not None}
    return _without_nulls(said)


def generate_chat_body(request: OllamaGenerateRequest, *, context_length: int | None) -> dict[str, Any]:
    """The same for ``/api/generate`` where the model's own chat template is used.

    Raises:
        InvalidField: an image cannot be read; `param` names it.
    """
    body = _chat_fields(request, context_length)
    system = [{"role": "system", "content": request.system}] if request.system else []
    body["messages"] = [*system, {"role": "user", "content": content_of(request.prompt, request.images, "")}]
    return body


def completion_body(
    request: OllamaGenerateRequest, prompt: str | list[int], *, context_length: int | None
) -> dict[str, Any]:
    """The same as a streamed body of ``/v1/completions`` for a prompt that goes to the model as it is.

    Raises:
        InvalidField: there are images, which only a chat template can place.
    """
    if request.images:
        raise InvalidField("images are not available with raw or template", param="images", code="unsupported")
    body = {"prompt": prompt, **_streamed(), **sampling_fields(request.options, context_length=context_length)}
    if request.format is not None:
        # The engine does not look at `response_format` here (measured).
        body["json_schema"] = {"type": "object"} if isinstance(request.format, str) else request.format
    if request.logprobs:
        body["logprobs"] = max(1, request.top_logprobs)
    return body


def gap_body(request: OllamaGenerateRequest, *, context_length: int | None) -> dict[str, Any]:
    """The same as a streamed body of ``/infill``, for what comes between prompt and suffix.

    Raises:
        InvalidField: there are images, or a format, which the engine's route has no place for.
    """
    for field in ("images", "format", "template", "context"):
        if getattr(request, field):
            raise InvalidField(f"{field} is not available with suffix", param=field, code="unsupported")
    fields = sampling_fields(request.options, context_length=context_length)
    body = {"input_prefix": request.prompt, "input_suffix": request.suffix, "prompt": "", "stream": True, **fields}
    if request.logprobs:
        body["n_probs"] = max(1, request.top_logprobs)
    return body


def template_body(chat: Mapping[str, Any]) -> dict[str, Any]:
    """What ``/apply-template`` is asked for the prompt of a chat."""
    return {key: chat[key] for key in ("messages", "chat_template_kwargs") if key in chat}


def text_of_prompt(document: Mapping[str, Any]) -> str:
    """The prompt in the answer of ``/apply-template``.

    Raises:
        BackendFailed: there is none.
    """
    prompt = document.get("prompt")
    if not isinstance(prompt, str):
        raise BackendFailed("The backend did not tell the prompt that it makes of a chat.")
    return prompt


def tokens_of(document: Mapping[str, Any], backend: str) -> list[int]:
    """The tokens in the answer of ``/tokenize``.

    Raises:
        BackendFailed: there are none.
    """
    tokens = document.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise BackendFailed(f"The backend {backend!r} sent what are no tokens.")
    return tokens


#: Of a body, what bears on what its answers have to keep to.
RULING = frozenset({"tools", "tool_choice", "response_format", "json_schema"})


def answer_rules(wanted: str | Mapping[str, Any] | None, body: Mapping[str, Any], backend: str) -> AnswerRules | None:
    """What a finished answer has to keep to; None for one without tools and formats.

    Args:
        wanted: the `format` of the request.
        body: what is asked for it, with the alias's defaults, which nobody has checked.
        backend: its name, for messages.
    """
    text = _text_rule(wanted, body.get("response_format")) or own_schema_rule(body.get("json_schema"))
    return rules_of(f"The answer of the backend {backend!r}", _call_rule(body), text)


def _text_rule(wanted: str | Mapping[str, Any] | None, default: Any) -> TextRule | None:
    """A schema is held as one of OpenAI's that is strict, where it can be: Ollama has no such word."""
    if isinstance(wanted, Mapping):
        return TextRule("'format'", strictly(wanted))
    if wanted is not None:
        return TextRule("'format'", is_object=True)
    place = "the alias's 'response_format'"
    match default:
        case {"type": "json_schema", "json_schema": {"strict": True, "schema": dict(schema)}}:
            return TextRule(place, strictly(schema))
        case {"type": "json_schema"}:
            return TextRule(place)
        case {"type": "json_object"}:
            return TextRule(place, is_object=not default.get("schema"))
    return None


def _call_rule(body: Mapping[str, Any]) -> CallRule | None:
    choice, tools, schemas = body.get("tool_choice"), body.get("tools"), {}
    for tool in tools if isinstance(tools, list) else ():
        match tool:
            case {"function": {"name": str(name)} as function}:
                schema = function.get("parameters") if function.get("strict") is True else None
                schemas[name] = strictly(schema) if isinstance(schema, dict) else None
    if choice == "none":
        return CallRule({})
    return CallRule(schemas, is_due=choice == "required") if schemas else None


def _chat_fields(request: Answering, context_length: int | None) -> dict[str, Any]:
    body = {**_streamed(), **sampling_fields(request.options, context_length=context_length)}
    if isinstance(request.format, dict):
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "schema", "schema": request.format},
        }
    elif request.format is not None:
        body["response_format"] = {"type": "json_object"}
    if request.think is not None:
        body["chat_template_kwargs"] = _thinking(request.think)
    if request.logprobs:
        # 0 gives none in a stream: the alternative that is asked for instead is taken out again.
        body.update(logprobs=True, top_logprobs=max(1, request.top_logprobs))
    return body


def _thinking(think: bool | str) -> dict[str, Any]:
    if isinstance(think, bool):
        return {"enable_thinking": think}
    return {"enable_thinking": True, "reasoning_effort": think}


def _streamed() -> dict[str, Any]:
    """Whole answers are collected from a stream, too, as only a stream can be stopped."""
    return {"stream": True, "stream_options": {"include_usage": True}}
