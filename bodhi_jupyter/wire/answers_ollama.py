"""What Ollama's routes answer, for the documentation; see `answers`."""

from __future__ import annotations

from typing import Any, Literal

from .answers import AnswerModel, Count


class OllamaError(AnswerModel):
    """What went wrong, in Ollama's words."""

    error: str


class Version(AnswerModel):
    """The version of Ollama whose API this is."""

    version: str


class ModelDetails(AnswerModel):
    """What the model is; empty where it is not known."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    context_length: int | None = None
    embedding_length: int | None = None


class Tag(AnswerModel):
    """A model in a list; `size` in bytes."""

    name: str
    model: str
    modified_at: str
    size: Count
    digest: str
    details: ModelDetails
    capabilities: list[str] | None = None


class Tags(AnswerModel):
    """All models, the default first."""

    models: list[Tag]


class RunningModel(AnswerModel):
    """A model that is loaded here; `size` in bytes of memory, as estimated."""

    name: str
    model: str
    size: Count
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: Count
    context_length: Count


class Running(AnswerModel):
    """The loaded models, those that stay longest first."""

    models: list[RunningModel]


class Shown(AnswerModel):
    """One model; `model_info` is its file's header, with the context in use."""

    modelfile: str
    parameters: str
    template: str
    details: ModelDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    system: str | None = None
    license: str | None = None


class FunctionCalled(AnswerModel):
    """What is called; `arguments` is an object."""

    index: Count
    name: str
    arguments: dict[str, Any]


class OllamaToolCall(AnswerModel):
    """A call of one of the request's tools."""

    id: str | None = None
    function: FunctionCalled


class OllamaReplyMessage(AnswerModel):
    """The model's turn, or a piece of it."""

    role: Literal["assistant"]
    content: str
    thinking: str | None = None
    tool_calls: list[OllamaToolCall] | None = None


class _Line(AnswerModel):
    """What every line has, and what the last one adds."""

    model: str
    created_at: str
    done: bool
    done_reason: Literal["stop", "length", "load", "unload"] | None = None
    logprobs: list[dict[str, Any]] | None = None
    total_duration: Count | None = None
    """In nanoseconds, as the other durations are."""
    load_duration: Count | None = None
    prompt_eval_count: Count | None = None
    """Tokens of the prompt."""
    prompt_eval_duration: Count | None = None
    eval_count: Count | None = None
    """Tokens of the answer."""
    eval_duration: Count | None = None


class OllamaChatLine(_Line):
    """A line of a chat; the last one, or the only one, has the numbers and the calls."""

    message: OllamaReplyMessage


class OllamaGenerateLine(_Line):
    """A line of a text; the last one, or the only one, has the numbers and the context."""

    response: str
    thinking: str | None = None
    context: list[int] | None = None


class OllamaEmbeddings(AnswerModel):
    """A vector of length 1 for each text."""

    model: str
    embeddings: list[list[float]]
    total_duration: Count | None = None
    """In nanoseconds, as the other duration is."""
    load_duration: Count | None = None
    prompt_eval_count: Count | None = None
    """Tokens of the texts."""


class OllamaEmbedding(AnswerModel):
    """One vector."""

    embedding: list[float]


class Status(AnswerModel):
    """How far it is; `total` and `completed` in bytes."""

    status: str
    digest: str | None = None
    total: Count | None = None
    completed: Count | None = None


class Pull(AnswerModel):
    """A model that is being got, or was lately; sizes in bytes, `started` in seconds since 1970."""

    id: str
    model: str
    state: Literal["running", "success", "failed", "cancelled"]
    status: str
    total: Count
    completed: Count
    error: str
    started: Count


class PullList(AnswerModel):
    """The pulls under way and those lately finished, the latest first."""

    object: Literal["list"]
    data: list[Pull]
