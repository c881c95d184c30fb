"""The rooms wired together: made of the extension's configuration once requests are to be answered."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_core.paths import ENV_JUPYTER_PATH, SYSTEM_JUPYTER_PATH, jupyter_data_dir

from .access.admission import AdmissionQueue
from .access.limits import Limits
from .access.person import server_owner
from .backends.base import Backend
from .backends.engine_reading import answers
from .backends.images import ImageFetcher
from .backends.launch import BinaryLauncher, EmbeddedLauncher, EngineSpec, Launcher
from .backends.memory import estimate_bytes
from .backends.pool import LocalPool
from .backends.pool_types import Engine, PoolEvent, PoolLimits, Starter
from .backends.remote import RemoteBackend
from .backends.supervisor import EngineProcess
from .backends.transport import Upstream
from .catalog.alias import LocalTarget, ModelSource
from .catalog.broken import BrokenFile
from .catalog.catalog import Catalog
from .catalog.details import Details
from .catalog.discovery import ModelFolders
from .catalog.hub_cache import hub_cache
from .catalog.model_files import ModelFiles
from .catalog.pull import Pulls
from .catalog.pull_hub import Hub
from .catalog.sources import AliasFileSource, FileSource
from .catalog.store import AliasStore
from .closing import close_together
from .handlers.collector import PatientCollector
from .handlers.fields import known_fields
from .handlers.gateway import Gateway
from .handlers.live import live_source
from .handlers.notebooks import Notebooks
from .handlers.route_names import RouteNames
from .models.box import ROOT, BoxedModels
from .routes import ROUTES
from .telemetry.bus import EventBus
from .telemetry.ledger import Ledger
from .telemetry.live import LIVE
from .telemetry.metrics import LEDGER_FAILURES, LEDGER_ROWS_LOST, Metrics
from .telemetry.recent import RecentErrors
from .telemetry.recorders import Recorders
from .wire.errors import ModelNotFound
from .wire.openai import ChatRequest

if TYPE_CHECKING:
    from .extension import BodhiExtension

#: The backend that `backend_url` is short for.
BACKEND = "backend"
#: How long the end waits for requests that were told of it.
_LAST_WORDS_SECONDS = 1.0


class Services:
    """All that answers requests; nothing is started, reached or written before one comes.

    Args:
        app: says what is configured.
        events: where models' loads and ends are told.
        limits: None where nothing is limited.

    Attributes:
        gateway: what the handlers work with.
    """

    def __init__(self, app: BodhiExtension, events: EventBus, limits: Limits | None) -> None:
        assert app.serverapp is not None
        self._app, self._log = app, app.log
        self._events, self._metrics = events, Metrics(known_fields)
        recent_errors, ledger = RecentErrors(), self._ledger()
        upstream = Upstream(app.read_timeout, app.queue_timeout, app.max_waiting_requests)
        details = Details()
        remotes = self._remotes(upstream)
        pool = self._pool(details, upstream, is_only_backend=not remotes)
        aliases = self._alias_store()
        model_folders, caches = [*self._data_folders("models"), *map(Path, app.model_folders)], [hub_cache(os.environ)]
        folders = ModelFolders([*model_folders, *caches])
        from_files = AliasFileSource(
            aliases,
            folders,
            [*model_folders, ROOT],
            caches,
            self._log_broken,
            [remote.name for remote in remotes],
            lambda full_name: catalog.server_with(full_name),
        )
        from_disk = FileSource(folders, self._log_broken)
        box = BoxedModels()
        sources: list[ModelSource] = [from_files, from_disk, *remotes, box]
        backends: list[Backend] = [*remotes, pool]
        defaults = [*(remote.name for remote in remotes), box.name]
        catalog = Catalog(
            sources,
            defaults,
            app.default_model,
            absent=lambda: from_files.absent,
            limited=() if limits is None else limits.named,
        )
        self.gateway = Gateway(
            catalog=catalog,
            aliases=aliases,
            details=details,
            backends={backend.name: backend for backend in backends},
            pool=pool,
            pulls=Pulls(Hub(caches[0], os.environ), lambda: catalog.refresh(FileSource.name)),
            model_files=ModelFiles([*model_folders, *caches]),
            upstream=upstream,
            keys=app.kernel_access.keys,
            admission=AdmissionQueue(app.max_requests, app.admission_queue, app.admission_timeout),
            collector=PatientCollector(app.gc_threshold),
            images=ImageFetcher(frozenset(app.image_hosts), app.max_body_bytes),
            max_body_bytes=app.max_body_bytes,
            broken_files=lambda: [*from_files.broken.files, *from_disk.broken.files],
            absence_of=from_files.absence,
            model_named=from_files.model_named,
            limits=limits,
            owner=server_owner(os.environ),
            recorder=Recorders([self._metrics, self._events, recent_errors, *([ledger] if ledger else [])], self._log),
            routes=RouteNames(["/", *(pattern for pattern, _ in ROUTES)]),
            notebooks=Notebooks(app.serverapp.session_manager),
            ledger=ledger,
            recent_errors=recent_errors,
        )
        self._live = live_source(self.gateway)
        LIVE.add(self._live)

    async def warm_up(self) -> None:
        """Do in threads, before a request comes, what the first one would wait for."""
        await asyncio.to_thread(ChatRequest.model_rebuild)
        await self.gateway.upstream.warm_up()

    async def close(self) -> None:
        """Give everything back: questions, connections, engines."""
        gateway = self.gateway
        asking = {
            "The pulls": gateway.pulls.close(),
            "The catalog": gateway.catalog.close(),
            "The details of models": gateway.details.close(),
            "The images": gateway.images.close(),
            "The live metrics": LIVE.remove(self._live),
            "The notebooks' names": gateway.notebooks.close(),
            **{f"The backend {name!r}": backend.close() for name, backend in gateway.backends.items()},
        }
        await close_together(asking, self._log)
        # What they ask through; the requests that wait there are told, and then counted.
        await close_together({"The connections": gateway.upstream.close()}, self._log)
        await self._all_are_over()
        gateway.collector.close()
        counting: dict[str, Awaitable[None]] = {}
        if gateway.limits is not None:
            counting["The limits"] = gateway.limits.close()
        if gateway.ledger is not None:
            counting["The ledger"] = asyncio.to_thread(gateway.ledger.close)
        await close_together(counting, self._log)

    async def _all_are_over(self) -> None:
        """Wait until the requests that were just told of the end have answered and are recorded."""
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while self.gateway.in_flight and time.monotonic() < deadline:  # noqa: ASYNC110 - a dict tells nobody
            await asyncio.sleep(0.01)

    def _remotes(self, upstream: Upstream) -> list[RemoteBackend]:
        app = self._app
        configured = {BACKEND: {"url": app.backend_url, "api_key": app.backend_api_key}} if app.backend_url else {}
        return [
            RemoteBackend(name, settings["url"], upstream, settings.get("api_key", ""))
            for name, settings in {**configured, **app.backends}.items()
        ]

    def _pool(self, details: Details, upstream: Upstream, *, is_only_backend: bool) -> LocalPool:
        launcher = BinaryLauncher(self._app.llama_server) if self._app.llama_server else EmbeddedLauncher()
        limits = PoolLimits(
            max_loaded=self._app.max_loaded_models,
            memory_budget=self._app.model_memory_budget or None,
            keep_alive=math.inf if self._app.keep_alive < 0 else self._app.keep_alive,
            max_queue=self._app.max_waiting_requests,
            queue_timeout=self._app.queue_timeout,
        )

        async def estimate(target: LocalTarget) -> int:
            return await asyncio.to_thread(estimate_bytes, target, await details.read(target.file))

        start = _starter(launcher, details, self._app.load_timeout)
        # Where servers are configured, a machine without an engine of its own is well all the same.
        unavailable = launcher.unavailable if is_only_backend else lambda: None
        return LocalPool(
            start, limits, estimate, self._tell_of_model, unavailable, answers=partial(answers, upstream=upstream)
        )

    def _ledger(self) -> Ledger | None:
        if not self._app.ledger:
            return None
        return Ledger(
            Path(jupyter_data_dir()) / "bodhi" / "ledger",
            max_age=self._app.ledger_days * 86400,
            max_bytes=self._app.ledger_max_bytes,
            log=self._log,
            on_lost=LEDGER_ROWS_LOST.inc,
            on_failure=LEDGER_FAILURES.inc,
        )

    def _alias_store(self) -> AliasStore:
        user, *others = self._data_folders("aliases")
        return AliasStore([user, *others, *map(Path, self._app.alias_folders)], user)

    @staticmethod
    def _data_folders(kind: str) -> list[Path]:
        """Our folder under each of Jupyter's data directories: the user's, the environment's, the system's."""
        directories = [jupyter_data_dir(), *ENV_JUPYTER_PATH, *SYSTEM_JUPYTER_PATH]
        return [Path(directory) / "bodhi" / kind for directory in dict.fromkeys(directories)]

    def _tell_of_model(self, event: PoolEvent) -> None:
        if event.kind == "failed":
            self._log.warning("model=%r failed: %s", event.alias, "\n  ".join([event.reason, *event.last_lines]))
        else:
            self._log.info("model=%r %s %s", event.alias, event.kind, event.reason and f"({event.reason})")
        self._events.model_changed(event.kind, event.alias, seconds=event.seconds, reason=event.reason)
        self._metrics.model_changed(event.kind, event.alias, seconds=event.seconds, evicted=event.evicted)

    def _log_broken(self, files: Sequence[BrokenFile]) -> None:
        for file in files:
            # A name may be no text, which a log in a file would lose, with all else that the line says.
            self._log.warning("This file is not used. %s", str(file).encode(errors="backslashreplace").decode())


def _starter(launcher: Launcher, details: Details, load_timeout: float) -> Starter:
    async def start(alias: str, target: LocalTarget) -> Engine:
        if not await asyncio.to_thread(target.path.exists):
            # It was deleted after the request was resolved.
            raise ModelNotFound(f"The model '{alias}' does not exist any more.", param="model")
        metadata = await details.read(target.file)
        spec = EngineSpec(alias, target.path, target.context, metadata.pooling if metadata else None)
        return await EngineProcess.start(launcher, spec, start_timeout=load_timeout)

    return start
