"""``/bodhi/v1/pulls``: what a panel sees of models that are being got."""

from __future__ import annotations

import logging
from dataclasses import asdict

from jupyter_server.auth.decorator import authorized
from tornado import web

from .base import GatewayHandler


class PullsHandler(GatewayHandler):
    """``/bodhi/v1/pulls``: a panel looks again and again."""

    line_level = logging.DEBUG
    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The pulls under way and those lately finished, the latest first."""
        self.answer_json({"object": "list", "data": [asdict(state) for state in self.gateway.pulls.states()]})


class PullStateHandler(GatewayHandler):
    """``/bodhi/v1/pulls/{id}``."""

    @web.authenticated
    @authorized
    async def delete(self, pull_id: str) -> None:
        """Stop it, for everybody who waits for it: 204, or 404 when it is not under way."""
        self.gateway.pulls.cancel(pull_id)
        self.set_status(204)
        self.finish()


default_handlers = [
    (r"/bodhi/v1/pulls", PullsHandler),
    (r"/bodhi/v1/pulls/([^/]+)", PullStateHandler),
]
