"""The server extension: its configuration, its routes, its start and its end. Everything else is in the rooms."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from traitlets import Enum, Float, Integer, Unicode, default

from .access import provisioner
from .access.environment import Mode, kernel_base_url
from .access.keys import KeyRing
from .access.provisioner import KernelAccess
from .backends.base import Backend
from .backends.launch import EmbeddedLauncher, EngineSpec, Launcher
from .backends.pool import LocalPool
from .backends.remote import RemoteBackend
from .backends.residency import Engine, Starter
from .backends.supervisor import EngineProcess
from .backends.transport import Upstream
from .catalog.alias import LocalTarget, ModelSource
from .catalog.catalog import Catalog
from .cli import BodhiDoctor, BodhiEnv
from .handlers import manage_health, manage_keys, openai
from .handlers.base import GATEWAY, Gateway
from .models.box import BoxedModel
from .wire.openai import ChatRequest

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

#: A large model from a slow disk takes minutes.
LOAD_SECONDS = 600.0

ROUTES = [
    *openai.default_handlers,
    *manage_health.default_handlers,
    *manage_keys.default_handlers,
]


class BodhiExtension(ExtensionApp):
    """Local AI beside the notebook server."""

    name = "bodhi_jupyter"
    description = "Answers OpenAI's API beside the notebook server, from llama.cpp."
    extension_url = "/bodhi/health"
    # `jupyter bodhi` starts a server for programs: no other extension, no browser.
    load_other_extensions = False
    serverapp_config = {"open_browser": False}  # noqa: RUF012 - traitlets reads plain dicts
    subcommands = {  # noqa: RUF012
        "doctor": (BodhiDoctor, "Say what is configured, reachable and wrong, and what to do."),
        "env": (BodhiEnv, "Print the exports that lead a terminal's programs to the running server."),
    }

    backend_url = Unicode(
        help="URL of a running llama.cpp (or other OpenAI-compatible) server. Without one, the engine in the box "
        "answers. Also BODHI_BACKEND_URL."
    ).tag(config=True)
    backend_api_key = Unicode(
        help="The key of that server. It is sent to it alone, and kept from kernels. Also BODHI_BACKEND_API_KEY."
    ).tag(config=True)
    read_timeout = Float(
        600.0, help="Seconds that a backend may stay silent, before the first byte and between two."
    ).tag(config=True)
    max_body_bytes = Integer(64 * 1024 * 1024, help="A request with a larger body is refused with 413.").tag(
        config=True
    )
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

    def initialize_settings(self) -> None:
        """Wire the rooms together; nothing is started, reached or written yet."""
        upstream = Upstream(self.read_timeout)
        pool = LocalPool(_starter(EmbeddedLauncher()))
        backends: dict[str, Backend] = {pool.name: pool}
        sources: list[ModelSource] = []
        if self.backend_url:
            remote = RemoteBackend("backend", self.backend_url, upstream, self.backend_api_key)
            backends[remote.name] = remote
            sources.append(remote)
        sources.append(BoxedModel(Path(jupyter_data_dir()) / "bodhi" / "models", Path(tempfile.gettempdir()) / "bodhi"))
        keys = KeyRing()
        self.gateway = Gateway(
            catalog=Catalog(sources),
            backends=backends,
            upstream=upstream,
            keys=keys,
            max_body_bytes=self.max_body_bytes,
        )
        self.kernel_access = KernelAccess(keys, cast("Mode", self.kernel_env), self.log)
        self.settings[GATEWAY] = self.gateway
        self.settings[provisioner.SETTING] = self.kernel_access

    def initialize_handlers(self) -> None:
        """Add the routes."""
        self.handlers.extend(ROUTES)

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
        await asyncio.to_thread(ChatRequest.model_rebuild)
        await self.gateway.upstream.warm_up()

    async def stop_extension(self) -> None:
        """Give everything back: kernels' provisioner, questions, connections, engines."""
        if getattr(self, "_is_default_provisioner", False):
            provisioner.restore_default()
        if warming_up := getattr(self, "_warming_up", None):
            await asyncio.wait([warming_up])
        await self.gateway.catalog.close()
        await asyncio.gather(*(backend.close() for backend in self.gateway.backends.values()))
        await self.gateway.upstream.close()

    def current_activity(self) -> dict[str, Any] | None:
        """The requests in flight: a hub must not take a server that generates for idle."""
        in_flight = len(self.gateway.in_flight)
        return {"requests": in_flight} if in_flight else None


def _starter(launcher: Launcher) -> Starter:
    async def start(alias: str, target: LocalTarget) -> Engine:
        spec = EngineSpec(alias, target.path, target.context)
        return await EngineProcess.start(launcher, spec, start_timeout=LOAD_SECONDS)

    return start


main = BodhiExtension.launch_instance
