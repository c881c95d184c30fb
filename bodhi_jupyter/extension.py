"""The server extension: its start and its end.

What answers requests (`services`, `routes`) is loaded after the start, in a thread: importing it takes 0.2 s.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from tornado.ioloop import PeriodicCallback

from . import __version__
from .access import provisioner
from .access.environment import Mode, kernel_base_url
from .access.keys import KeyRing
from .access.provisioner import KernelAccess
from .access.watched_keys import WatchedKeys, keys_path
from .cli_app import BodhiCommand
from .handlers.late_routes import LateRoutes, Routes
from .settings import BodhiSettings
from .telemetry.bus import EventBus

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from .access.limit_settings import Limit
    from .access.limits import Limits
    from .handlers.gateway import Gateway
    from .services import Services

#: A server that has just started is asked for its first page: what requests of ours need is loaded after it.
SETTLE_SECONDS = 1.0
#: So often a server that answers requests counts as active.
ACTIVITY_SECONDS = 30.0


class BodhiExtension(BodhiSettings, BodhiCommand):
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
