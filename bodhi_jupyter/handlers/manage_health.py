"""``/bodhi/health``: whether every backend works, in words."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from tornado import web

from .base import GatewayHandler


class HealthHandler(GatewayHandler):
    """``GET /bodhi/health``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Ask each backend now: 200 when all are well, 503 when one is not."""
        backends = self.gateway.backends
        answers = await asyncio.gather(*(backend.health() for backend in backends.values()))
        well = all(health.ok for health in answers)
        self.set_status(200 if well else 503)
        self.answer_json(
            {
                "status": "ok" if well else "degraded",
                "backends": {
                    name: {"ok": health.ok, "detail": health.detail}
                    for name, health in zip(backends, answers, strict=True)
                },
            }
        )


default_handlers = [(r"/bodhi/health", HealthHandler)]
