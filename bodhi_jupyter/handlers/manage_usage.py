"""``/bodhi/v1/usage`` and ``/bodhi/v1/errors/recent``: what happened, over time and lately."""

from __future__ import annotations

import asyncio
import time

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..telemetry.usage import usage, usage_csv
from ..wire.errors import RouteNotFound
from ..wire.usage_query import parse_usage_query
from .base import GatewayHandler


class UsageHandler(GatewayHandler):
    """``GET /bodhi/v1/usage``: a panel looks again and again."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Totals, series, percentiles and failures out of the ledger, as JSON; the series alone as CSV."""
        arguments = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        query = parse_usage_query(arguments, time.time())
        ledger = self.gateway.ledger
        if ledger is None:
            raise RouteNotFound("No ledger is kept: it is switched off by c.BodhiExtension.ledger.")
        await asyncio.to_thread(ledger.flush)
        if query.format == "json":
            self.answer_json(await asyncio.to_thread(usage, ledger.folder, query))
            return
        text = await asyncio.to_thread(usage_csv, ledger.folder, query)
        self.set_header("Content-Disposition", 'attachment; filename="usage.csv"')
        self.finish(text, set_content_type="text/csv; charset=utf-8")


class RecentErrorsHandler(GatewayHandler):
    """``GET /bodhi/v1/errors/recent``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The last failures since the server started, the newest first, each with what to do about it."""
        self.answer_json({"object": "list", "data": self.gateway.recent_errors.list()})


default_handlers = [(r"/bodhi/v1/usage", UsageHandler), (r"/bodhi/v1/errors/recent", RecentErrorsHandler)]
