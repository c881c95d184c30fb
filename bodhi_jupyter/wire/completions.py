"""``/v1/completions``: the request (OpenAI spec 2.3.0), what is asked of the engine for it, and the whole answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from .answer_rules import TextRule
from .chunk_parts import MalformedChunk, as_array, as_object, text_or_empty
from .errors import InvalidField
from .held import HeldModel
from .inputs import Prompts, each
from .lenient import Items
from .misread import tidied
from .openai import (
    INT64,
    TWO_NUMBERS,
    Answers,
    LogitBias,
    OwnSchema,
    Penalty,
    ResponseFormat,
    StreamOptions,
    TokenLimit,
    schema_of,
)
from .validation import parse_request

#: Answers of one request, over all its prompts; the engine queues them all at once.
MAX_CHOICES = 2048
#: Ours to do.
_NOT_FORWARDED = frozenset({"echo", "best_of", "suffix"})


class CompletionRequest(OwnSchema, HeldModel):
    """``POST /v1/completions``; a prompt of null is OpenAI's default, the beginning of a document."""

    model: Annotated[str, Field(min_length=1)]
    prompt: Prompts | None
    suffix: str | None = None
    echo: bool | None = None
    n: Answers | None = None
    n_cmpl: Answers | None = Field(None, description="llama.cpp's name for `n`.")
    best_of: Annotated[int, Field(ge=0, le=20)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    max_tokens: TokenLimit | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    stop: str | Annotated[Items[str], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-INT64, lt=INT64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    # OpenAI's has none; vLLM's and others have, and the engine would pass over it (measured).
    response_format: ResponseFormat | None = None

    @property
    def schema_to_fit(self) -> dict[str, Any] | None:
        """The JSON schema of the answers; None where they are free text, or a grammar's."""
        if self.json_schema is not None or self.response_format is None or (self.model_extra or {}).get("grammar"):
            return self.json_schema
        return schema_of(self.response_format)

    @property
    def text_rule(self) -> TextRule | None:
        """What each finished answer has to keep to."""
        if self.schema_to_fit is None:
            return None
        return TextRule("'response_format'" if self.json_schema is None else "'json_schema'")

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one or more."""
        return each(self.prompt or "")

    @property
    def answers_per_prompt(self) -> int:
        """How many answers each prompt is given."""
        return self.n or self.n_cmpl or 1

    @property
    def choices(self) -> int:
        """How many answers are asked for; those to prompt ``i`` have the indices from ``i * n`` on."""
        return len(self.prompts) * self.answers_per_prompt

    @property
    def reports_usage(self) -> bool:
        """Whether the answer carries `usage`: a whole one always, a stream when asked."""
        return not self.stream or bool(self.stream_options and self.stream_options.include_usage)


def parse_completion(body: bytes) -> CompletionRequest:
    """The body, checked field by field and then as a whole.

    Raises:
        MalformedBody: it is not a JSON object.
        InvalidField: a field is wrong, or two of them do not go together.
    """
    request = parse_request(CompletionRequest, body)
    if request.n_cmpl is not None and request.n not in (None, request.n_cmpl):
        raise InvalidField(f"Invalid 'n_cmpl': {TWO_NUMBERS}", param="n_cmpl")
    if request.best_of is not None and request.best_of < request.answers_per_prompt:
        raise InvalidField(
            f"Invalid 'best_of': expected a value >= 'n' ({request.answers_per_prompt}), but got {request.best_of} "
            "instead.",
            param="best_of",
        )
    if request.echo and request.logprobs is not None:
        raise InvalidField(
            "Invalid 'logprobs': with 'echo' it asks for the log probabilities of the prompt's own tokens, which the "
            "engine does not give. Leave one of them out.",
            param="logprobs",
        )
    if request.suffix and len(request.prompts) > 1:
        raise InvalidField("Invalid 'prompt': with 'suffix' there can be only one prompt.", param="prompt")
    if request.choices > MAX_CHOICES:
        raise InvalidField(
            f"Invalid 'n': {len(request.prompts)} prompts with {request.answers_per_prompt} answers each are "
            f"{request.choices} answers. Expected at most {MAX_CHOICES}.",
            param="n",
        )
    return request


def completion_body(data: Mapping[str, Any], request: CompletionRequest, model: str) -> dict[str, Any]:
    """What is asked of the engine; `data` is the caller's body with the alias's defaults.

    ``echo`` and ``best_of`` are ours: the engine ignores them (measured). A whole answer is to be asked for as a
    stream, because only a stream can be stopped; ``logprobs: 0`` gives none there, so one alternative is asked for.
    """
    body = common_body(data, request)
    body["model"] = model
    body.setdefault("prompt", "")
    if request.logprobs == 0:
        body["logprobs"] = 1
    if request.answers_per_prompt > 1 and body.get("seed") is None:
        _repeat_prompts(body, request)
    return body


def common_body(data: Mapping[str, Any], request: CompletionRequest) -> dict[str, Any]:
    """The body, put right, without what is ours to do.

    The format of the answers has the name that the engine reads; the other stays for other servers.
    """
    body = {key: value for key, value in tidied(data).items() if key not in _NOT_FORWARDED}
    return body if request.schema_to_fit is None else {**body, "json_schema": request.schema_to_fit}


def _repeat_prompts(body: dict[str, Any], request: CompletionRequest) -> None:
    """Ask for `n` answers by repeating each prompt.

    The engine takes any number of prompts, but `n` only up to its slots (measured); the indices are the same. A
    seed would make copies of one prompt alike, where the engine gives each of `n` answers a seed of its own.
    """
    body["prompt"] = [prompt for prompt in request.prompts for _ in range(request.answers_per_prompt)]
    del body["n"]


class CompletionAssembler:
    """Collects the chunks of one completion, as `CompletionGuard` lets them through.

    For a single answer the result is the engine's own, field by field and key by key. For several, `usage` counts
    them all, where the engine's counts the first alone (measured).
    """

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._extras: dict[str, Any] = {}
        # By choice: the engine reports the first one's.
        self._timings: dict[int, Any] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in one parsed chunk.

        Raises:
            MalformedChunk: a part has a type that no chunk has.
        """
        parts = chunk.get("choices")
        if not isinstance(parts, list):
            raise MalformedChunk("choices is not an array")
        for part in parts:
            if not isinstance(part, Mapping) or not isinstance(index := part.get("index", 0), int):
                raise MalformedChunk("a choice is not an object with an index")
            self._choices.setdefault(index, _Choice()).add(part)
            if chunk.get("timings") is not None:
                self._timings[index] = chunk["timings"]
        without = {"choices", "object", "timings", "prompt_progress", "obfuscation"}
        self._extras.update((key, value) for key, value in chunk.items() if value is not None and key not in without)

    def result(self) -> dict[str, Any]:
        """The ``text_completion``, once the stream has ended in success."""
        extras = dict(self._extras)
        answer: dict[str, Any] = {"choices": [self._choices[index].result(index) for index in sorted(self._choices)]}
        answer.update((key, extras.pop(key)) for key in ("created", "model", "system_fingerprint") if key in extras)
        answer["object"] = "text_completion"
        answer.update((key, extras.pop(key)) for key in ("usage", "id") if key in extras)
        timings = {"timings": self._timings[min(self._timings)]} if self._timings else {}
        return {**answer, **extras, **timings}


class _Choice:
    """One of the answers."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: str | None = None
        self._extras: dict[str, Any] = {}

    def add(self, part: Mapping[str, Any]) -> None:
        self._texts.append(text_or_empty(part.get("text"), "text"))
        for key, values in as_object(part.get("logprobs"), "logprobs").items():
            self._logprobs.setdefault(key, []).extend(as_array(values, "logprobs"))
        self._finish_reason = part.get("finish_reason") or self._finish_reason
        without = {"text", "index", "logprobs", "finish_reason"}
        self._extras.update((key, value) for key, value in part.items() if value is not None and key not in without)

    def result(self, index: int) -> dict[str, Any]:
        return {
            "text": "".join(self._texts),
            "index": index,
            "logprobs": self._logprobs or None,
            "finish_reason": self._finish_reason,
            **self._extras,
        }
