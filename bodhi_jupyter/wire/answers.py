"""What OpenAI's endpoints answer here, for the documentation (OpenAI spec 2.3.0, llama.cpp's own answers measured).

Answers are relayed, not built from these: the tests hold them against what the engine sends. More fields may come,
``timings`` of llama.cpp's for instance.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel


class AnswerModel(BaseModel):
    """Base of the models that describe what is in an answer."""

    model_config = ConfigDict(extra="allow", defer_build=True, use_attribute_docstrings=True)


class NativeAnswer(AnswerModel):
    """What the engine answers, as it is."""


Count = Annotated[int, Field(ge=0)]


class Fault(AnswerModel):
    """One of the mistakes in a document."""

    param: str | None
    message: str


class ErrorDetail(AnswerModel):
    """What went wrong."""

    message: str
    """For the person who called; it names the endpoint and the model."""
    type: str
    param: str | None
    """The request's field, as in `messages[0].role`."""
    code: str
    """For programs."""


class Error(AnswerModel):
    """An error in OpenAI's shape."""

    error: ErrorDetail
    faults: list[Fault] | None = None
    """Of an alias that is wrong: each of its mistakes, the error's own first."""


class PromptTokens(AnswerModel):
    """Of the prompt's tokens."""

    cached_tokens: Count


class Usage(AnswerModel):
    """Tokens, as the model counts them."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: PromptTokens | None = None


# -- chat --------------------------------------------------------------------------------------------------------


class TopLogprob(AnswerModel):
    """A token that might have come here."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the answer, and how likely it was."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(AnswerModel):
    """The tokens of one answer, or of one piece of it."""

    content: list[TokenLogprob] | None


class CalledFunction(AnswerModel):
    """Its name, and its arguments as JSON text."""

    name: str
    arguments: str


class MadeCall(AnswerModel):
    """A call of a function that the model wants made."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ChatMessage(AnswerModel):
    """What the model says; its thoughts under the two names that clients look for."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[MadeCall] | None = None
    function_call: CalledFunction | None = None


FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]


class ChatChoice(AnswerModel):
    """One of the answers."""

    index: Count
    message: ChatMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None


class ChatCompletion(AnswerModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: Annotated[list[ChatChoice], Field(min_length=1)]
    usage: Usage
    system_fingerprint: str | None = None
    timings: dict[str, Any] | None = None
    """llama.cpp's: tokens per second and the like."""


class FunctionPiece(AnswerModel):
    """A piece of a call's name or arguments."""

    name: str | None = None
    arguments: str | None = None


class CallPiece(AnswerModel):
    """A piece of a call; the first of each has its id and name."""

    index: Count
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionPiece | None = None


class ChatDelta(AnswerModel):
    """What is added to a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPiece] | None = None
    function_call: FunctionPiece | None = None


class ChatChunkChoice(AnswerModel):
    """A piece of one of the answers."""

    index: Count
    delta: ChatDelta
    finish_reason: FinishReason | None
    logprobs: ChatLogprobs | None = None


class ChatCompletionChunk(AnswerModel):
    """A piece of a streamed answer; with `stream_options.include_usage` the last one has the usage and no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str | None = None
    timings: dict[str, Any] | None = None


class ChatStreamData(RootModel[ChatCompletionChunk | Error]):
    """A piece, or at the end the error that broke the stream."""

    model_config = ConfigDict(defer_build=True)


# -- completions -------------------------------------------------------------------------------------------------


class TextLogprobs(AnswerModel):
    """Lists with one entry for each token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[Count]


class TextPiece(AnswerModel):
    """One of the answers, or a piece of it."""

    index: Count
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class TextCompletion(AnswerModel):
    """A whole answer, or a piece of a streamed one."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextPiece]
    usage: Usage | None = None
    system_fingerprint: str | None = None
    timings: dict[str, Any] | None = None


class TextStreamData(RootModel[TextCompletion | Error]):
    """A piece, or at the end the error that broke the stream."""

    model_config = ConfigDict(defer_build=True)


# -- embeddings, reranking, counting -----------------------------------------------------------------------------


class PromptUsage(AnswerModel):
    """Tokens of what was read."""

    prompt_tokens: Count
    total_tokens: Count


class Embedding(AnswerModel):
    """The vector of one input: numbers, or in base64 four bytes each, little-endian."""

    object: Literal["embedding"]
    index: Count
    embedding: list[float] | str


class EmbeddingList(AnswerModel):
    """A vector for each input, in its order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: PromptUsage


class RankedDocument(AnswerModel):
    """The text, with `return_documents`."""

    text: str


class RerankResult(AnswerModel):
    """A document by its place in the request, and how well it answers the query."""

    index: Count
    relevance_score: float
    document: RankedDocument | None = None


class RerankAnswer(AnswerModel):
    """The documents, best first."""

    model: str
    results: list[RerankResult]
    usage: PromptUsage | None = None


class InputTokens(AnswerModel):
    """How many tokens the prompt would have."""

    input_tokens: Count
    object: Literal["response.input_tokens"]
