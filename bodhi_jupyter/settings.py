"""The settings, what each may be, and what is wrong with those that make no sense."""

from __future__ import annotations

import os
from typing import Any, NoReturn

from traitlets import Bool, Dict, Enum, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Configurable

#: Seconds. With 0, which some write for "no limit", nothing would ever be answered.
_LEAST_SECONDS = 0.001
#: Names that configured backends cannot have: the one of `backend_url`, and those of our own sources of models.
RESERVED = frozenset({"backend", "local", "box", "files", "aliases"})


class SecretText(Unicode[str, str]):
    """A text that may hold a key or a password: an error, which is logged, does not repeat it."""

    def error(self, obj: Any, value: Any, error: Exception | None = None, info: str | None = None) -> NoReturn:  # noqa: ARG002
        """Say what is expected.

        Raises:
            TraitError: always.
        """
        raise TraitError(f"{self.name} has to be {self.info()}.")


class SecretDict(Dict):
    """A dict that may hold some: as `SecretText`."""

    error = SecretText.error


class BodhiSettings(Configurable):
    """All that can be configured, under the name of the extension.

    Raises:
        TraitError: a setting makes no sense; what is secret is not in it.
    """

    backend_url = SecretText(
        help="URL of a running llama.cpp (or other OpenAI-compatible) server. Without one, the engine in the box "
        "answers. Also BODHI_BACKEND_URL."
    ).tag(config=True)
    backend_api_key = SecretText(
        help="The key of that server. It is sent to it alone, and kept from kernels. Also BODHI_BACKEND_API_KEY."
    ).tag(config=True)
    backends = SecretDict(
        help='Several servers by name: {"gpu-box": {"url": "http://gpu-box:8080", "api_key": "..."}}. The first '
        "one's first model is the default.",
    ).tag(config=True)
    default_model = Unicode(
        help="The model that `default` stands for, as /v1/models lists it. Without one, the first model of the first "
        "configured server, or the guide in the box."
    ).tag(config=True)
    read_timeout = Float(
        600.0, min=_LEAST_SECONDS, help="Seconds that a backend may stay silent, before the first byte and between two."
    ).tag(config=True)
    max_body_bytes = Integer(64 * 2**20, min=1, help="A request with a larger body is refused with 413.").tag(
        config=True
    )

    image_hosts = List(
        Unicode(),
        help="Hosts from which images in chats may be fetched, by this server and never by the engine. By default "
        "none: a request that names an image by http(s) URL is refused.",
    ).tag(config=True)

    model_folders = List(
        Unicode(),
        help="Further folders with GGUF files, searched with those below. Those in bodhi/models under Jupyter's data "
        "directory and in the Hugging Face cache are found without.",
    ).tag(config=True)
    alias_folders = List(
        Unicode(),
        help="Further folders with alias files, searched after bodhi/aliases under Jupyter's data directories "
        "(user, environment, system).",
    ).tag(config=True)
    max_loaded_models = Integer(3, min=1, help="Local models that may be loaded at once.").tag(config=True)
    model_memory_budget = Integer(
        0, min=0, help="Bytes that all loaded models may need together (weights, KV and prompt cache); 0 is no limit."
    ).tag(config=True)
    keep_alive = Float(
        300.0, help="Seconds that a local model stays loaded after its last request; negative is for ever."
    ).tag(config=True)
    max_waiting_requests = Integer(
        512,
        min=1,
        help="Requests that may wait for local models, and as many for configured llama.cpp servers that still load.",
    ).tag(config=True)
    queue_timeout = Float(
        600.0,
        min=_LEAST_SECONDS,
        help="Seconds that a request may wait for its model, also where a configured llama.cpp server still loads it.",
    ).tag(config=True)
    load_timeout = Float(600.0, min=_LEAST_SECONDS, help="Seconds that loading a local model may take.").tag(
        config=True
    )
    llama_server = Unicode(
        help="A llama-server binary to run local models with, a CUDA build for instance, in place of the embedded "
        "engine: a path, or a name on PATH."
    ).tag(config=True)

    max_requests = Integer(
        1000, min=1, help="Requests that may be answered at once, by all models; those that come then wait in order."
    ).tag(config=True)
    admission_queue = Integer(1000, min=0, help="Requests that may wait for that; more are refused.").tag(config=True)
    admission_timeout = Float(
        30.0, min=0, help="Seconds that a request may wait for that; proxies give up after 60, some after 30."
    ).tag(config=True)
    gc_threshold = Integer(
        10_000,
        min=0,
        help="Garbage collector's threshold, in objects, while models answer and shortly after; 0 leaves it alone.",
    ).tag(config=True)

    limits = Dict(
        help="How much may be asked for, in requests_per_minute, tokens_per_minute, tokens_per_day and streams (at "
        'once): {"user": {"requests_per_minute": 60}, "alias": {"*": {"streams": 4}}}. By default nothing is limited.',
    ).tag(config=True)
    limits_storage = SecretText(
        help="URL of a Redis (redis://, rediss://, unix://) in which several servers count together. Without one, "
        "each counts for itself. It may hold a password, and is kept from kernels. Also BODHI_LIMITS_STORAGE."
    ).tag(config=True)

    ledger = Bool(
        True, help="Whether a row is kept for each request, in bodhi/ledger under Jupyter's data directory."
    ).tag(config=True)
    ledger_days = Float(90.0, min=0, help="Days after which a row of the ledger goes.").tag(config=True)
    ledger_max_bytes = Integer(
        100 * 2**20, min=0, help="Bytes that all files of the ledger may have together; the oldest rows go first."
    ).tag(config=True)

    kernel_env = Enum(
        ["auto", "always", "never"],
        default_value="auto",
        help="Whether new kernels are given the addresses and a key. `auto`: each provider's variables, unless the "
        "user has set any of them.",
    ).tag(config=True)
    kernel_url = Unicode(
        help="The address of this server for kernels, its base URL included, where the loopback address does not "
        "serve: TLS, a Unix socket."
    ).tag(config=True)

    @default("backend_url")
    def _backend_url_default(self) -> str:
        return os.environ.get("BODHI_BACKEND_URL", "")

    @default("backend_api_key")
    def _backend_api_key_default(self) -> str:
        return os.environ.get("BODHI_BACKEND_API_KEY", "")

    @default("limits_storage")
    def _limits_storage_default(self) -> str:
        return os.environ.get("BODHI_LIMITS_STORAGE", "")

    @validate("limits")
    def _check_limits(self, proposal: Any) -> Any:
        if proposal["value"]:
            from .access.limit_settings import parse_limits

            try:
                parse_limits(proposal["value"])
            except ValueError as error:
                raise TraitError(str(error)) from None
        return proposal["value"]

    @validate("model_folders", "alias_folders")
    def _expand_home(self, proposal: Any) -> Any:
        return [os.path.expanduser(folder) for folder in proposal["value"]]  # noqa: PTH111 - a Path may raise

    @validate("backend_url")
    def _check_backend_url(self, proposal: Any) -> Any:
        if proposal["value"] and not str(proposal["value"]).startswith(("http://", "https://")):
            raise TraitError("backend_url has to start with http:// or https://.")
        return proposal["value"]

    @validate("backends")
    def _check_backends(self, proposal: Any) -> Any:
        for name, settings in proposal["value"].items():
            if not isinstance(name, str) or name in RESERVED or "/" in name:
                raise TraitError(f"A backend cannot be called {name!r}.")
            if not isinstance(settings, dict) or not set(settings) <= {"url", "api_key"}:
                raise TraitError(f"The backend {name!r} has to be a dict of 'url' and perhaps 'api_key'.")
            if not isinstance(settings.get("api_key", ""), str):
                raise TraitError(f"The 'api_key' of the backend {name!r} has to be text.")
            if not str(settings.get("url", "")).startswith(("http://", "https://")):
                raise TraitError(f"The backend {name!r} has no 'url' that starts with http:// or https://.")
        return proposal["value"]
