"""What ``/v1/responses`` answers, for the documentation (OpenAI spec 2.3.0); see `answers`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from .answers import AnswerModel, Count

Status = Literal["in_progress", "completed", "incomplete"]


class ResponseText(AnswerModel):
    """Text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class ResponseRefusal(AnswerModel):
    """What the model refuses."""

    type: Literal["refusal"]
    refusal: str


class ResponseReasoningText(AnswerModel):
    """A piece of the model's thoughts."""

    type: Literal["reasoning_text"]
    text: str


ResponsePart = Annotated[ResponseText | ResponseRefusal | ResponseReasoningText, Field(discriminator="type")]


class ResponseMessage(AnswerModel):
    """What the model says."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: Status
    content: list[ResponsePart]


class ResponseFunctionCall(AnswerModel):
    """A call of a function that the model wants made; `arguments` is JSON text."""

    type: Literal["function_call"]
    id: str | None = None
    call_id: str
    name: str
    arguments: str
    status: Status


class ResponseReasoning(AnswerModel):
    """The model's thoughts."""

    type: Literal["reasoning"]
    id: str
    summary: list[Any]
    content: list[ResponseReasoningText] | None = None
    status: Status | None = None


ResponseItem = Annotated[ResponseMessage | ResponseFunctionCall | ResponseReasoning, Field(discriminator="type")]


class ResponseInputTokens(AnswerModel):
    """Of the tokens read."""

    cached_tokens: Count
    cache_write_tokens: Count


class ResponseOutputTokens(AnswerModel):
    """Of the tokens written; llama.cpp does not count thoughts."""

    reasoning_tokens: Count


class ResponseUsage(AnswerModel):
    """Tokens, as the model counts them."""

    input_tokens: Count
    input_tokens_details: ResponseInputTokens
    output_tokens: Count
    output_tokens_details: ResponseOutputTokens
    total_tokens: Count


class Response(AnswerModel):
    """A response, whole or in the making; the fields of its request are repeated in it."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None = None
    status: Status
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    model: str
    output: list[ResponseItem]
    usage: ResponseUsage | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str] | None
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: dict[str, Any] | None
    store: Literal[False]
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_p: float | None
    truncation: str


class _Event(AnswerModel):
    sequence_number: Count


class ResponseStateEvent(_Event):
    """The response as it is at its beginning, or at its end."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.incomplete"]
    response: Response


class ResponseItemEvent(_Event):
    """An item begins or ends."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: Count
    item: ResponseItem


class _ItemEvent(_Event):
    item_id: str
    output_index: Count


class ResponsePartEvent(_ItemEvent):
    """A part of an item's content begins or ends."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    content_index: Count
    part: ResponsePart


class ResponseTextDelta(_ItemEvent):
    """A piece of a text, or of thoughts."""

    type: Literal["response.output_text.delta", "response.reasoning_text.delta"]
    content_index: Count
    delta: str
    logprobs: list[Any] | None = None


class ResponseTextDone(_ItemEvent):
    """A text is whole, or what a limit left of it."""

    type: Literal["response.output_text.done", "response.reasoning_text.done"]
    content_index: Count
    text: str
    logprobs: list[Any] | None = None


class ResponseArgumentsDelta(_ItemEvent):
    """A piece of a call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    delta: str


class ResponseArgumentsDone(_ItemEvent):
    """A call's arguments are whole."""

    type: Literal["response.function_call_arguments.done"]
    name: str
    arguments: str


class ResponseErrorEvent(_Event):
    """The end of a stream that broke."""

    type: Literal["error"]
    code: str | None
    message: str
    param: str | None


class ResponseEvent(
    RootModel[
        Annotated[
            ResponseStateEvent
            | ResponseItemEvent
            | ResponsePartEvent
            | ResponseTextDelta
            | ResponseTextDone
            | ResponseArgumentsDelta
            | ResponseArgumentsDone
            | ResponseErrorEvent,
            Field(discriminator="type"),
        ]
    ]
):
    """An event of a response's stream; the last is `response.completed`, `response.incomplete` or `error`."""

    model_config = ConfigDict(defer_build=True)
