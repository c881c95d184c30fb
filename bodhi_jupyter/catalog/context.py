"""How an engine is to hold a model: the `context_params` of an alias, typed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Pooling = Literal["none", "mean", "cls", "last", "rank"]
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]


class ContextParams(BaseModel):
    """What is fixed when a model is loaded. `None` leaves the choice to us where a default is named, else to llama.cpp.

    Names are llama.cpp's own; a field that is not listed here is an error, so that a typo is seen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    n_ctx: int | None = Field(None, ge=0, le=2**24)
    """Tokens of context in total, over all slots; 0 gives each slot what the model was trained with. Default 4096."""

    n_parallel: int | None = Field(None, ge=1, le=256)
    """Slots: requests answered at the same time, each with an even part of `n_ctx`. Default 1: others wait."""

    n_gpu_layers: int | None = Field(None, ge=-1, le=100_000)
    """Layers held by the GPU; -1 lets llama.cpp decide, a number above the model's layers means all."""

    n_threads: int | None = Field(None, ge=1, le=1024)
    """Threads that compute; llama.cpp takes the number of physical cores."""

    embeddings: bool | None = None
    """Whether `/v1/embeddings` is answered too; chat keeps working. By default yes, for inputs of up to 512 tokens;
    when set to true, up to 2048, at the price of more memory (measured: 1 GB reserved instead of 256 MB for a
    vocabulary of 128,000)."""

    pooling: Pooling | None = None
    """How token vectors become one embedding; `none` is not OpenAI compatible. Default what the model's file says, mean
    where it says nothing, or rank when reranking."""

    reranking: bool | None = None
    """Whether `/v1/rerank` is answered, and `/v1/embeddings` is not; for models made for it. By default where the
    model's file says that it is one, unless `pooling` says otherwise."""

    chat_template: str | None = Field(None, min_length=1)
    """The text of a Jinja template in place of the model's own."""

    mmproj: str | None = Field(None, min_length=1)
    """Path of the multimodal projector (a GGUF) that lets the model see or hear."""

    lora: list[str] = Field(default_factory=list)
    """Paths of LoRA adapters (GGUF), each applied at full scale."""

    flash_attention: bool | Literal["auto"] | None = None
    """Flash attention on, off, or `auto`: where the device supports it (llama.cpp's default)."""

    cache_type_k: CacheType | None = None
    """Number format of the cached keys; llama.cpp takes f16."""

    cache_type_v: CacheType | None = None
    """Number format of the cached values; quantized ones need flash attention. llama.cpp takes f16."""

    extra_args: list[str] = Field(default_factory=list)
    """Raw arguments for a `llama-server` binary, one list item each; the embedded engine refuses them.
    With a scoped key only those are taken that read, write and run nothing, and go nowhere."""

    def files(self) -> list[str]:
        """Paths of the files that are loaded beside the model."""
        return [*self.lora, *([self.mmproj] if self.mmproj else [])]
