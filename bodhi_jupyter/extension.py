"""The server extension: its configuration, its routes, its start and its end. Everything else is in the rooms."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyter_core.paths import ENV_JUPYTER_PATH, SYSTEM_JUPYTER_PATH, jupyter_data_dir
from traitlets import Bool, Dict, Enum, Float, Integer, List, TraitError, Unicode, default, validate

from . import __version__
from .access import provisioner
from .access.admission import AdmissionQueue
from .access.environment import Mode, kernel_base_url
from .access.key_store import KeyStore, WatchedKeys, keys_path
from .access.keys import KeyRing
from .access.limit_settings import Limit, parse_limits
from .access.limit_storage import counters_at
from .access.limits import Limits
from .access.person import server_owner
from .access.provisioner import KernelAccess
from .backends.base import Backend
from .backends.images import ImageFetcher
from .backends.launch import BinaryLauncher, EmbeddedLauncher, EngineSpec, Launcher
from .backends.memory import estimate_bytes
from .backends.pool import LocalPool
from .backends.remote import RemoteBackend
from .backends.residency import Engine, PoolEvent, PoolLimits, Starter
from .backends.supervisor import EngineProcess
from .backends.transport import Upstream
from .catalog.alias import LocalTarget, ModelSource
from .catalog.broken import BrokenFile
from .catalog.catalog import Catalog
from .catalog.details import Details
from .catalog.discovery import ModelFolders
from .catalog.hub import hub_cache
from .catalog.model_files import ModelFiles
from .catalog.pull import Pulls
from .catalog.pull_hub import Hub
from .catalog.sources import AliasFileSource, FileSource
from .catalog.store import AliasStore
from .cli_app import BodhiCommand
from .closing import close_together
from .handlers.collector import PatientCollector
from .handlers.fields import known_fields
from .handlers.gateway import GATEWAY, Gateway
from .handlers.live import live_source
from .handlers.notebooks import Notebooks
from .handlers.route_names import RouteNames
from .models.box import BoxedModel
from .routes import KEYED_ROUTES, ROUTES
from .telemetry.bus import EventBus
from .telemetry.ledger import Ledger
from .telemetry.live import LIVE
from .telemetry.metrics import LEDGER_FAILURES, LEDGER_ROWS_LOST, Metrics
from .telemetry.recent import RecentErrors
from .telemetry.recorders import Recorders
from .wire.errors import ModelNotFound
from .wire.openai import ChatRequest

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

#: The backend that `backend_url` is short for.
BACKEND = "backend"


class BodhiExtension(BodhiCommand):
    """Local AI beside the notebook server."""

    name = "bodhi_jupyter"
    version = __version__
    extension_url = "/bodhi/docs"
    # `jupyter bodhi` starts a server for programs: no other extension, no browser.
    load_other_extensions = False
    serverapp_config = {"open_browser": False}  # noqa: RUF012 - traitlets reads plain dicts

    backend_url = Unicode(
        help="URL of a running llama.cpp (or other OpenAI-compatible) server. Without one, the engine in the box "
        "answers. Also BODHI_BACKEND_URL."
    ).tag(config=True)
    backend_api_key = Unicode(
        help="The key of that server. It is sent to it alone, and kept from kernels. Also BODHI_BACKEND_API_KEY."
    ).tag(config=True)
    backends = Dict(
        help='Several servers by name: {"gpu-box": {"url": "http://gpu-box:8080", "api_key": "..."}}. The first '
        "one's first model is the default.",
    ).tag(config=True)
    default_model = Unicode(
        help="The model that `default` stands for, as /v1/models lists it. Without one, the first model of the first "
        "configured server, or the guide in the box."
    ).tag(config=True)
    read_timeout = Float(
        600.0, help="Seconds that a backend may stay silent, before the first byte and between two."
    ).tag(config=True)
    max_body_bytes = Integer(64 * 2**20, help="A request with a larger body is refused with 413.").tag(config=True)

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
    max_waiting_requests = Integer(512, min=1, help="Requests that may wait for local models to load.").tag(config=True)
    queue_timeout = Float(600.0, help="Seconds that a request may wait for its local model.").tag(config=True)
    load_timeout = Float(600.0, help="Seconds that loading a local model may take.").tag(config=True)
    llama_server = Unicode(
        help="A llama-server binary to run local models with, a CUDA build for instance, in place of the embedded "
        "engine: a path, or a name on PATH."
    ).tag(config=True)

    max_requests = Integer(
        1000, min=1, help="Requests that may be answered at once, by all models; those that come then wait in order."
    ).tag(config=True)
    admission_queue = Integer(1000, min=0, help="Requests that may wait for that; more are refused.").tag(config=True)
    admission_timeout = Float(60.0, help="Seconds that a request may wait for that.").tag(config=True)
    gc_threshold = Integer(
        0, min=0, help="Threshold of Python's garbage collector while models answer, in objects; 0 leaves it alone."
    ).tag(config=True)

    limits = Dict(
        help="How much may be asked for, in requests_per_minute, tokens_per_minute, tokens_per_day and streams (at "
        'once): {"user": {"requests_per_minute": 60}, "alias": {"*": {"streams": 4}}}. By default nothing is limited.',
    ).tag(config=True)
    limits_storage = Unicode(
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
        help="The address of this server for kernels, where the loopback address does not serve: remote kernels, "
        "TLS, a Unix socket."
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
        try:
            parse_limits(proposal["value"])
        except ValueError as error:
            raise TraitError(str(error)) from None
        return proposal["value"]

    @validate("backend_url")
    def _check_backend_url(self, proposal: Any) -> Any:
        if proposal["value"] and not str(proposal["value"]).startswith(("http://", "https://")):
            raise TraitError("backend_url has to start with http:// or https://.")
        return proposal["value"]

    @validate("backends")
    def _check_backends(self, proposal: Any) -> Any:
        taken = {BACKEND, LocalPool.name, BoxedModel.name, FileSource.name, AliasFileSource.name}
        for name, settings in proposal["value"].items():
            if name in taken or "/" in name:
                raise TraitError(f"A backend cannot be called {name!r}.")
            if not isinstance(settings, dict) or not set(settings) <= {"url", "api_key"}:
                raise TraitError(f"The backend {name!r} has to be a dict of 'url' and perhaps 'api_key'.")
            if not str(settings.get("url", "")).startswith(("http://", "https://")):
                raise TraitError(f"The backend {name!r} has no 'url' that starts with http:// or https://.")
        return proposal["value"]

    def initialize_settings(self) -> None:
        """Wire the rooms together; nothing is started, reached or written yet."""
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        self._events, self._metrics = EventBus(self.serverapp.event_logger), Metrics(known_fields)
        recent_errors, ledger = RecentErrors(), self._ledger()
        upstream, details = Upstream(self.read_timeout), Details()
        keys = KeyRing(WatchedKeys(KeyStore(keys_path()), self.log.warning))
        remotes = self._remotes(upstream)
        pool = self._pool(details, is_only_backend=not remotes)
        aliases = self._alias_store()
        model_folders, caches = [*self._data_folders("models"), *map(Path, self.model_folders)], [hub_cache(os.environ)]
        folders = ModelFolders([*model_folders, *caches])
        from_files = AliasFileSource(
            aliases, folders, model_folders, caches, self._log_broken, [remote.name for remote in remotes]
        )
        from_disk = FileSource(folders, self._log_broken)
        box = BoxedModel()
        sources: list[ModelSource] = [from_files, from_disk, *remotes, box]
        backends: list[Backend] = [*remotes, pool]
        defaults = [*(remote.name for remote in remotes), box.name]
        catalog = Catalog(sources, defaults, self.default_model, absent=lambda: from_files.absent)
        self.gateway = Gateway(
            catalog=catalog,
            aliases=aliases,
            details=details,
            backends={backend.name: backend for backend in backends},
            pool=pool,
            pulls=Pulls(Hub(caches[0], os.environ), lambda: catalog.refresh(FileSource.name)),
            model_files=ModelFiles([*model_folders, *caches]),
            upstream=upstream,
            keys=keys,
            admission=AdmissionQueue(self.max_requests, self.admission_queue, self.admission_timeout),
            collector=PatientCollector(self.gc_threshold),
            images=ImageFetcher(frozenset(self.image_hosts)),
            max_body_bytes=self.max_body_bytes,
            broken_files=lambda: [*from_files.broken.files, *from_disk.broken.files],
            absence_of=from_files.absence,
            limits=self._limits(),
            owner=server_owner(os.environ),
            recorder=Recorders([self._metrics, self._events, recent_errors, *([ledger] if ledger else [])], self.log),
            routes=RouteNames(["/", *(pattern for pattern, _ in ROUTES)]),
            notebooks=Notebooks(self.serverapp.session_manager),
            ledger=ledger,
            recent_errors=recent_errors,
        )
        self._live = live_source(self.gateway)
        LIVE.add(self._live)
        self.kernel_access = KernelAccess(keys, cast("Mode", self.kernel_env), self.log)
        self.settings[GATEWAY] = self.gateway
        self.settings[provisioner.SETTING] = self.kernel_access

    def initialize_handlers(self) -> None:
        """Add the routes."""
        self.handlers.extend([*ROUTES, *KEYED_ROUTES])

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Tell new kernels where we are, now that the port is known, and load in a thread what requests will need."""
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
        self._is_default_provisioner = provisioner.make_default(serverapp)
        self._warming_up = asyncio.create_task(self._warm_up())

    async def _warm_up(self) -> None:
        try:
            await asyncio.to_thread(ChatRequest.model_rebuild)
            await asyncio.to_thread(known_fields)
            await self.gateway.upstream.warm_up()
        except Exception:
            self.log.exception("What requests need could not be loaded early: the first of them load it.")

    async def stop_extension(self) -> None:
        """Give everything back: kernels' provisioner, questions, connections, engines."""
        if getattr(self, "_is_default_provisioner", False):
            provisioner.restore_default()
        if warming_up := getattr(self, "_warming_up", None):
            await asyncio.wait([warming_up])
        gateway = self.gateway
        users = {
            "The pulls": gateway.pulls.close(),
            "The catalog": gateway.catalog.close(),
            "The details of models": gateway.details.close(),
            "The images": gateway.images.close(),
            "The live metrics": LIVE.remove(self._live),
            "The notebooks' names": gateway.notebooks.close(),
            **{f"The backend {name!r}": backend.close() for name, backend in gateway.backends.items()},
        }
        await close_together(users, self.log)
        # What they ask through, and where the requests that they ended are counted.
        used: dict[str, Awaitable[None]] = {"The connections": gateway.upstream.close()}
        if gateway.limits is not None:
            used["The limits"] = gateway.limits.close()
        if gateway.ledger is not None:
            used["The ledger"] = asyncio.to_thread(gateway.ledger.close)
        await close_together(used, self.log)

    def current_activity(self) -> dict[str, Any] | None:
        """The requests in flight: a hub must not take a server that generates for idle."""
        in_flight = len(self.gateway.in_flight)
        return {"requests": in_flight} if in_flight else None

    def _remotes(self, upstream: Upstream) -> list[RemoteBackend]:
        configured = {BACKEND: {"url": self.backend_url, "api_key": self.backend_api_key}} if self.backend_url else {}
        return [
            RemoteBackend(name, settings["url"], upstream, settings.get("api_key", ""))
            for name, settings in {**configured, **self.backends}.items()
        ]

    def _pool(self, details: Details, *, is_only_backend: bool) -> LocalPool:
        launcher = BinaryLauncher(self.llama_server) if self.llama_server else EmbeddedLauncher()
        limits = PoolLimits(
            max_loaded=self.max_loaded_models,
            memory_budget=self.model_memory_budget or None,
            keep_alive=math.inf if self.keep_alive < 0 else self.keep_alive,
            max_queue=self.max_waiting_requests,
            queue_timeout=self.queue_timeout,
        )

        async def estimate(target: LocalTarget) -> int:
            return estimate_bytes(target, await details.read(target.file))

        start = _starter(launcher, self.load_timeout)
        # Where servers are configured, a machine without an engine of its own is well all the same.
        unavailable = launcher.unavailable if is_only_backend else lambda: None
        return LocalPool(start, limits, estimate, self._tell_of_model, unavailable)

    def _limits(self) -> Limits | None:
        if not self.limits:
            return None
        counters = counters_at(self.limits_storage, self.log.warning)
        return Limits(parse_limits(self.limits), counters, self._tell_of_limit)

    def _ledger(self) -> Ledger | None:
        if not self.ledger:
            return None
        return Ledger(
            Path(jupyter_data_dir()) / "bodhi" / "ledger",
            max_age=self.ledger_days * 86400,
            max_bytes=self.ledger_max_bytes,
            log=self.log,
            on_lost=LEDGER_ROWS_LOST.inc,
            on_failure=LEDGER_FAILURES.inc,
        )

    def _alias_store(self) -> AliasStore:
        user, *others = self._data_folders("aliases")
        return AliasStore([user, *others, *map(Path, self.alias_folders)], user)

    @staticmethod
    def _data_folders(kind: str) -> list[Path]:
        """Our folder under each of Jupyter's data directories: the user's, the environment's, the system's."""
        directories = [jupyter_data_dir(), *ENV_JUPYTER_PATH, *SYSTEM_JUPYTER_PATH]
        return [Path(directory) / "bodhi" / kind for directory in dict.fromkeys(directories)]

    def _tell_of_model(self, event: PoolEvent) -> None:
        if event.kind == "failed":
            self.log.warning("model=%r failed: %s", event.alias, "\n  ".join([event.reason, *event.last_lines]))
        else:
            self.log.info("model=%r %s %s", event.alias, event.kind, event.reason and f"({event.reason})")
        self._events.model(event.kind, event.alias, seconds=event.seconds, reason=event.reason)
        self._metrics.model(event.kind, event.alias, seconds=event.seconds, evicted=event.evicted)

    def _tell_of_limit(self, limit: Limit, person: str, alias: str, retry_after: float) -> None:
        self.log.info("limit reached: %d %s person=%r alias=%r", limit.amount, limit.words, person, alias)
        self._events.limit_reached(limit.words, person=person, alias=alias, retry_after=retry_after)

    def _log_broken(self, files: Sequence[BrokenFile]) -> None:
        for file in files:
            self.log.warning("This file is not used. %s", file)


def _starter(launcher: Launcher, load_timeout: float) -> Starter:
    async def start(alias: str, target: LocalTarget) -> Engine:
        if not await asyncio.to_thread(target.path.exists):
            # It was deleted after the request was resolved.
            raise ModelNotFound(f"The model '{alias}' does not exist any more.", param="model")
        spec = EngineSpec(alias, target.path, target.context)
        return await EngineProcess.start(launcher, spec, start_timeout=load_timeout)

    return start


main = BodhiExtension.launch_instance
