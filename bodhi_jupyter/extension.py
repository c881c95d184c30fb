"""The server extension: its configuration, its start and its end.

What answers requests (`services`, `routes`) is loaded after the start, in a thread: importing it takes 0.2 s.
"""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from tornado.ioloop import PeriodicCallback
from traitlets import Bool, Dict, Enum, Float, Integer, List, TraitError, Unicode, default, validate

from . import __version__
from .access import provisioner
from .access.environment import Mode, kernel_base_url
from .access.keys import KeyRing
from .access.provisioner import KernelAccess
from .access.watched_keys import WatchedKeys, keys_path
from .cli_app import BodhiCommand
from .handlers.late_routes import LateRoutes, Routes
from .telemetry.bus import EventBus

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from .access.limit_settings import Limit
    from .access.limits import Limits
    from .handlers.gateway import Gateway
    from .services import Services

#: Seconds. With 0, which some write for "no limit", nothing would ever be answered.
_LEAST_SECONDS = 0.001
#: Names that configured backends cannot have: the one of `backend_url`, and those of our own sources of models.
RESERVED = frozenset({"backend", "local", "box", "files", "aliases"})
#: A server that has just started is asked for its first page: what requests of ours need is loaded after it.
SETTLE_SECONDS = 1.0
#: So often a server that answers requests counts as active.
ACTIVITY_SECONDS = 30.0


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


class BodhiExtension(BodhiCommand):
    """Local AI beside the notebook server."""

    name = "bodhi_jupyter"
    version = __version__
    extension_url = "/bodhi/docs"
    # `jupyter bodhi` starts a server for programs: no other extension, no browser.
    load_other_extensions = False
    serverapp_config = {"open_browser": False}  # noqa: RUF012 - traitlets reads plain dicts

    _routes: LateRoutes | None = None
    _services: Services | None = None
    _fault: Exception | None = None
    _is_default_provisioner = False
    _settling: asyncio.TimerHandle | None = None
    _warming_up: asyncio.Task[None] | None = None
    _activity: PeriodicCallback | None = None

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

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Read the configuration; remember what is wrong with it."""
        try:
            super()._link_jupyter_server_extension(serverapp)
        except Exception as fault:
            self._fault = fault
            raise

    def initialize_settings(self) -> None:
        """Prepare what kernels and events need from the start, and see that all settings make sense.

        Raises:
            ValueError: they do not; nothing is answered then.
        """
        if self._fault is not None:
            # None of the settings holds then, and Jupyter would go on with the defaults: nothing would be limited.
            raise ValueError(f"Nothing is answered, as the configuration is wrong: {self._fault}") from None
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        self._making_services = threading.Lock()
        self._events = EventBus(self.serverapp.event_logger)
        self._limits = self._configured_limits()
        keys = KeyRing(WatchedKeys(keys_path(), self.log.warning))
        self.kernel_access = KernelAccess(keys, cast("Mode", self.kernel_env), self.log)
        self.settings[provisioner.SETTING] = self.kernel_access

    def initialize_handlers(self) -> None:
        """Take requests for our routes."""
        assert self.serverapp is not None
        self._routes = LateRoutes(self.serverapp.web_app, self._load_routes)
        self._routes.install()

    @property
    def gateway(self) -> Gateway:
        """What the handlers work with; imported and made when it is first asked for, by any thread."""
        return self._made_services().gateway

    def _made_services(self) -> Services:
        with self._making_services:
            if self._services is None:
                from .handlers.gateway import GATEWAY
                from .services import Services

                assert self.serverapp is not None
                self._services = Services(self, self._events, self._limits)
                self.serverapp.web_app.settings[GATEWAY] = self._services.gateway
            return self._services

    def _load_routes(self) -> Routes:
        from .routes import KEYED_ROUTES, ROUTES

        self._made_services()
        return [*ROUTES, *KEYED_ROUTES]

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Tell new kernels where we are, now that the port is known, and load soon what requests will need."""
        # Also where nothing is answered: it keeps secrets from kernels.
        self._is_default_provisioner = provisioner.make_default(serverapp)
        if self._routes is None:
            return  # it could not be loaded, and Jupyter has logged why
        reachable = kernel_base_url(
            ip=serverapp.ip,
            port=serverapp.port,
            base_url=serverapp.base_url,
            sock=serverapp.sock,
            certfile=serverapp.certfile,
            kernel_url=self.kernel_url,
        )
        self.kernel_access.base_url = reachable.url
        if reachable.url is None and self.kernel_env != "never":
            self.log.warning("New kernels are not told where OpenAI's API is. %s", reachable.reason)
        self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._begin_to_warm_up)
        self._activity = PeriodicCallback(self._note_activity, ACTIVITY_SECONDS * 1000)
        self._activity.start()

    def _begin_to_warm_up(self) -> None:
        self._warming_up = asyncio.create_task(self._warm_up())

    async def _warm_up(self) -> None:
        """Load what requests need before one comes."""
        try:
            assert self._routes is not None
            await self._routes.load()
            await self._made_services().warm_up()
        except Exception:
            self.log.exception("What answers requests could not be loaded")

    async def stop_extension(self) -> None:
        """Give everything back: kernels' provisioner, and what answered requests."""
        if self._is_default_provisioner:
            provisioner.restore_default()
        if self._activity is not None:
            self._activity.stop()
        if self._settling is not None:
            self._settling.cancel()
        if self._warming_up is not None:
            await asyncio.wait([self._warming_up])
        if self._services is not None:
            await self._services.close()

    def current_activity(self) -> dict[str, Any] | None:
        """The requests in flight: Jupyter must not take a server that generates for idle."""
        in_flight = len(self._services.gateway.in_flight) if self._services is not None else 0
        return {"requests": in_flight} if in_flight else None

    def _note_activity(self) -> None:
        """The same for a hub, which goes by times: Jupyter itself notes that of a request at its end."""
        if self._services is None:
            return
        # A panel asks our own routes all the time.
        if any(record.dialect != "bodhi" for record in self._services.gateway.in_flight.values()):
            assert self.serverapp is not None
            self.serverapp.web_app.settings["last_activity_times"][self.name] = datetime.now(UTC)

    def _configured_limits(self) -> Limits | None:
        if not self.limits:
            return None
        from .access.limit_settings import parse_limits
        from .access.limit_storage import counters_at
        from .access.limits import Limits

        counters = counters_at(self.limits_storage, self.log.warning)
        return Limits(parse_limits(self.limits), counters, self._tell_of_limit)

    def _tell_of_limit(self, limit: Limit, person: str, alias: str, retry_after: float) -> None:
        self.log.info("limit reached: %d %s person=%r alias=%r", limit.amount, limit.words, person, alias)
        self._events.limit_reached(limit.words, person=person, alias=alias, retry_after=retry_after)


main = BodhiExtension.launch_instance
