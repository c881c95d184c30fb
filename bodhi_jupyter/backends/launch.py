"""How an engine is started: which command, and which configuration its standard input gets.

Two kinds behind one interface: `EmbeddedLauncher` (llama.cpp's server in the `xllamacpp` wheel) and
`BinaryLauncher` (a `llama-server` of the user's own, a CUDA build for instance). Both start a Python child of
ours that ends, and ends what it started, when the pipe to us closes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..catalog.context import ContextParams
from ..catalog.llama_args import argument_name
from ..wire.errors import ModelNotLoadable

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULT_CONTEXT = 4096
#: One slot has the whole context. Several that share it (llama.cpp's default) all fail in mid-stream when their
#: requests together pass `n_ctx` (measured: "Context size has been exceeded." on each); split, each has a part.
_DEFAULT_SLOTS = 1
#: llama.cpp keeps up to 8 GiB of old prompts per process otherwise.
_PROMPT_CACHE_MIB = 256
#: Longest embedding input: llama.cpp's own limit, and ours when embeddings are asked for.
_USUAL_BATCH = 512
_EMBEDDING_BATCH = 2048
#: A model's own choice of these is kept: with another its vectors are worse, and match no index made elsewhere.
_VECTOR_POOLINGS = frozenset({"mean", "cls", "last"})
#: An origin that no page can have: an older llama-server falls back to ``*`` without one.
_NO_ORIGIN = "https://origin.invalid"

#: Arguments that are ours to decide: where the server listens, who may ask, what it tells us, loads and touches.
_RESERVED_ARGUMENTS = frozenset(
    {
        "--host",
        "--port",
        "--reuse-port",
        "--api-key",
        "--api-key-file",
        "--api-prefix",
        "--ssl-key-file",
        "--ssl-cert-file",
        "--cors-origins",
        "--model",
        "-m",
        "--model-url",
        "-mu",
        "--hf-repo",
        "-hf",
        "-hfr",
        "--hf-file",
        "-hff",
        "--docker-repo",
        "-dr",
        "--models-dir",
        "--models-preset",
        "--alias",
        "-a",
        "--log-disable",
        "--log-file",
    }
)


@dataclass(frozen=True)
class EngineSpec:
    """What one engine serves.

    Attributes:
        alias: the name that its answers carry in ``model``, whatever a request says.
        model_path: the GGUF file, or the first of a split model's files.
        context: how the model is held.
        own_pooling: how the model's file says that its token vectors become one; None where it says nothing.
    """

    alias: str
    model_path: Path
    context: ContextParams = field(default_factory=ContextParams)
    own_pooling: str | None = None


class Launcher(Protocol):
    """One way of starting an engine."""

    def unavailable(self) -> str | None:
        """Why it cannot be started here, in one sentence that says what to do; None when it can."""

    def command(self) -> list[str]:
        """The child's command line; it holds no secret."""

    def configuration(self, spec: EngineSpec, api_key: str) -> dict[str, Any]:
        """What the child reads as its first line, in JSON.

        Raises:
            ModelNotLoadable: this kind of engine cannot do what `spec` asks for.
        """


class EmbeddedLauncher:
    """llama.cpp's server from the `xllamacpp` wheel, in a child process."""

    def unavailable(self) -> str | None:
        """See `Launcher.unavailable`; looks for the wheel without importing it."""
        if importlib.util.find_spec("xllamacpp") is None:
            return (
                "The embedded engine is not installed: `pip install xllamacpp`, or where it has no wheel, "
                "configure the address of a llama.cpp server."
            )
        return None

    def command(self) -> list[str]:
        """See `Launcher.command`; ``-P`` keeps a module in the notebook's folder from taking the place of ours."""
        return [sys.executable, "-P", "-m", "bodhi_jupyter.backends.engine"]

    def configuration(self, spec: EngineSpec, api_key: str) -> dict[str, Any]:
        """See `Launcher.configuration`."""
        if spec.context.extra_args:
            raise ModelNotLoadable(
                f"The model {spec.alias!r} has `extra_args`, which only a llama-server binary understands; "
                "the embedded engine has none.",
                param="model",
            )
        return {
            "alias": spec.alias,
            "model_path": str(spec.model_path),
            "api_key": api_key,
            "settings": asdict(Settings.of(spec.context, spec.own_pooling)),
        }


@dataclass(frozen=True)
class BinaryLauncher:
    """A `llama-server` binary, watched by a small Python child.

    Attributes:
        binary: its path, which may begin with ``~``, or a name to look for on ``PATH``.
    """

    binary: str

    def unavailable(self) -> str | None:
        """See `Launcher.unavailable`."""
        if self._path is None:
            return "The configured llama-server binary is not there, or is not executable."
        return None

    def command(self) -> list[str]:
        """See `Launcher.command`."""
        return [sys.executable, "-P", "-m", "bodhi_jupyter.backends.binary"]

    def configuration(self, spec: EngineSpec, api_key: str) -> dict[str, Any]:
        """See `Launcher.configuration`."""
        for argument in spec.context.extra_args:
            name = argument_name(argument)
            if name in _RESERVED_ARGUMENTS:
                raise ModelNotLoadable(
                    f"The model {spec.alias!r} sets `{name}` in `extra_args`, which is not the alias's to decide.",
                    param="model",
                )
        command = [
            self._path or self.binary,
            *spec.context.extra_args,
            *("--model", str(spec.model_path), "--alias", spec.alias, "--host", "127.0.0.1", "--port", "0"),
            *("--no-webui", "--metrics", "--jinja"),
            *Settings.of(spec.context, spec.own_pooling).arguments(),
        ]
        return {"command": command, "api_key": api_key, "environment": {"LLAMA_ARG_CORS_ORIGINS": _NO_ORIGIN}}

    @property
    def _path(self) -> str | None:
        return shutil.which(os.path.expanduser(self.binary))  # noqa: PTH111 - a Path would take "./" away


@dataclass(frozen=True)
class Settings:
    """`ContextParams` with our defaults in their places; None leaves the choice to llama.cpp."""

    n_ctx: int
    n_parallel: int
    batch: int | None
    n_gpu_layers: int | None
    n_threads: int | None
    embeddings: bool
    pooling: str | None
    reranking: bool
    chat_template: str | None
    mmproj: str | None
    lora: list[str]
    flash_attention: str | None
    cache_type_k: str | None
    cache_type_v: str | None
    cache_ram_mib: int = _PROMPT_CACHE_MIB

    @classmethod
    def of(cls, context: ContextParams, own_pooling: str | None = None) -> Settings:
        """What `context` means once every default is known, the model's own pooling among them."""
        ranks = own_pooling == "rank" and context.pooling in {None, "rank"}
        reranking = ranks if context.reranking is None else context.reranking
        for_vectors = own_pooling if own_pooling in _VECTOR_POOLINGS else "mean"
        pooling = context.pooling or ("rank" if reranking else for_vectors)
        embeddings = reranking or context.embeddings is not False
        attention = {True: "on", False: "off", "auto": "auto", None: None}
        slots = context.n_parallel or _DEFAULT_SLOTS
        batch = _EMBEDDING_BATCH if context.embeddings or reranking else _USUAL_BATCH
        return cls(
            n_ctx=_DEFAULT_CONTEXT if context.n_ctx is None else context.n_ctx,
            n_parallel=slots,
            # A multiple of the slots: with mean pooling llama.cpp aborts otherwise (measured with 3, 5, 6, 7, 12).
            batch=-(-batch // slots) * slots if embeddings else None,
            n_gpu_layers=context.n_gpu_layers,
            n_threads=context.n_threads,
            embeddings=embeddings,
            pooling=pooling if embeddings else None,
            reranking=reranking,
            chat_template=context.chat_template,
            mmproj=context.mmproj,
            lora=context.lora,
            flash_attention=attention[context.flash_attention],
            cache_type_k=context.cache_type_k,
            cache_type_v=context.cache_type_v,
        )

    def context_per_request(self, trained: int | None) -> int:
        """Tokens that one request has: its slot's part, rounded up to 256, no more than the model was trained with.

        With `n_ctx` 0 each slot has all that the model was trained with. Measured against ``/props``; `trained` is
        what the model's header says.
        """
        if self.n_ctx == 0:
            return trained or 0
        rounded = -(-(self.n_ctx // self.n_parallel) // 256) * 256
        return min(rounded, trained) if trained else rounded

    def arguments(self) -> list[str]:
        """The same for a command line (llama.cpp server README)."""
        options: dict[str, int | str | None] = {
            "--ctx-size": self.n_ctx,
            "--parallel": self.n_parallel,
            "--cache-ram": self.cache_ram_mib,
            "--batch-size": self.batch,
            "--ubatch-size": self.batch,
            "--n-gpu-layers": self.n_gpu_layers,
            "--threads": self.n_threads,
            "--pooling": self.pooling,
            "--chat-template": self.chat_template,
            "--mmproj": self.mmproj,
            "--flash-attn": self.flash_attention,
            "--cache-type-k": self.cache_type_k,
            "--cache-type-v": self.cache_type_v,
        }
        switches = {
            "--embeddings": self.embeddings,
            "--reranking": self.reranking,
        }
        return [
            *(text for name, value in options.items() if value is not None for text in (name, str(value))),
            *(name for name, wanted in switches.items() if wanted),
            *(text for path in self.lora for text in ("--lora", path)),
        ]


def child_environment() -> dict[str, str]:
    """Our environment without what is no engine's business, and without a debugger.

    ``BODHI_*`` may hold keys. llama.cpp reads ``LLAMA_ARG_*`` and ``LLAMA_API_KEY`` itself: the first would change
    what an alias says, the second would open the engine to another key. Where gdb is installed, ggml lets it write
    a backtrace of hundreds of lines behind an assertion that failed: the reason would be lost, and seconds.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BODHI_", "LLAMA_"))}
    return {**ours, "GGML_NO_BACKTRACE": "1"}
