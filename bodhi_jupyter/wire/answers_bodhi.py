"""What ``/v1/models`` and the management routes answer, for the documentation; see `answers`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .answers import AnswerModel, Count

State = Literal["idle", "loading", "loaded", "draining", "stopping", "failed"]


class ModelMeta(AnswerModel):
    """What is known of a model beside what OpenAI tells of one; of a server's models, what the server tells."""

    backend: str
    state: State | None = None
    reason: str | None = None
    size: int | None = None
    """In bytes."""
    n_ctx: int | None = None
    """Tokens of context that one request has here."""
    n_ctx_train: int | None = None
    """Tokens of context that the model was made for."""
    n_params: int | None = None
    n_embd: int | None = None
    """Numbers in an embedding."""
    architecture: str | None = None
    quantization: str | None = None
    modalities: list[str] | None = None
    capabilities: list[str] | None = None


class Model(AnswerModel):
    """A model by the name that callers put into `model`."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    meta: ModelMeta
    description: str | None = None
    tags: list[str] | None = None
    stale: Literal[True] | None = None
    """Its source does not answer now, and this is what it said last."""


class ModelList(AnswerModel):
    """All models, or those that were asked for."""

    object: Literal["list"]
    data: list[Model]


class LocalModelState(AnswerModel):
    """Whether a local model is loaded."""

    id: str
    state: State
    expires_in: float | None
    """Seconds until it is unloaded if nobody asks; null while it is used, is not loaded, or stays for ever."""


class BackendHealth(AnswerModel):
    """Whether a backend is well, and a word on why."""

    ok: bool
    detail: str


class LoadedModel(AnswerModel):
    """A local model that is or was loaded, and who uses it."""

    state: State
    leases: Count
    """Requests that it answers now."""
    waiting: Count
    """Requests that wait for it."""
    reason: str | None = None
    """Why it failed."""


class BrokenFile(AnswerModel):
    """A file that cannot be used, and where the mistake is."""

    name: str
    line: int | None
    reason: str


class Health(AnswerModel):
    """What works and what does not."""

    status: Literal["ok", "degraded"]
    backends: dict[str, BackendHealth]
    models: dict[str, LoadedModel]
    broken_files: list[BrokenFile]


class Target(AnswerModel):
    """What an alias can stand for: a file, one in the Hugging Face cache, or a configured server's model."""

    path: str | None = None
    repo: str | None = None
    filename: str | None = None
    backend: str | None = None
    model: str | None = None


class TargetList(AnswerModel):
    """All of them, each once."""

    object: Literal["list"]
    data: list[Target]


class Slots(AnswerModel):
    """Requests that a server answers at once, and those that it answers now."""

    total: Count
    busy: Count


class Backend(AnswerModel):
    """A place where models run."""

    id: str
    object: Literal["backend"]
    ok: bool
    detail: str
    latency: Annotated[float, Field(ge=0)] | None
    """Seconds that it took to answer; null where nothing had to be asked."""
    slots: Slots | None


class BackendList(AnswerModel):
    """All backends."""

    object: Literal["list"]
    data: list[Backend]


class Key(AnswerModel):
    """A scoped key; it is shown once."""

    key: str
    name: str


class Rendered(AnswerModel):
    """Markdown as HTML; of a text that grows, what may still change apart."""

    html: str
    rest: str | None = None
    rest_html: str | None = None


class OpenApiDocument(AnswerModel):
    """A description of the API."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
