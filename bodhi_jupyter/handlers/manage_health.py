"""``/bodhi/health`` and ``/bodhi/v1/backends``: what works, in words and numbers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..backends.base import Health
from ..catalog.sources import AliasFileSource, FileSource
from .base import GatewayHandler


class HealthHandler(GatewayHandler):
    """``GET /bodhi/health``: a monitor looks again and again."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Ask each backend now: 200 when all are well, 503 when one is not.

        Broken files and failed models are listed; they do not make the server unwell.
        """
        # The broken files, and those that are gone, are what the catalog has met: it must look.
        await self.gateway.catalog.refresh(AliasFileSource.name, FileSource.name)
        answers = await ask_all(self)
        well = all(health.ok for health in answers.values())
        self.set_status(200 if well else 503)
        self.answer_json(
            {
                "status": "ok" if well else "degraded",
                "backends": {name: {"ok": health.ok, "detail": health.detail} for name, health in answers.items()},
                "models": {
                    name: {"state": state.state, "leases": state.leases, "waiting": state.waiting}
                    | ({"reason": state.reason} if state.reason else {})
                    for name, state in self.gateway.pool.states().items()
                },
                "broken_files": [asdict(file) for file in self.gateway.broken_files()],
            }
        )


class BackendsHandler(GatewayHandler):
    """``GET /bodhi/v1/backends``: a panel looks again and again."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Each backend's health, its slots, and how long it took to answer."""
        answers = await ask_all(self)
        self.answer_json({"object": "list", "data": [backend_object(name, health) for name, health in answers.items()]})


async def ask_all(handler: GatewayHandler) -> dict[str, Health]:
    """The health of every backend, asked at the same time; of what failed only models that are still there count."""
    backends = handler.gateway.backends
    handler.gateway.pool.forget_failures_of_all_but(handler.gateway.catalog.last_named().keys())
    answers = await asyncio.gather(*(backend.health() for backend in backends.values()))
    return dict(zip(backends, answers, strict=True))


def backend_object(name: str, health: Health) -> dict[str, Any]:
    """A backend as JSON; ``latency`` is in seconds, ``slots`` as llama.cpp counts them, null where it does not tell."""
    return {
        "id": name,
        "object": "backend",
        "ok": health.ok,
        "detail": health.detail,
        "latency": health.latency,
        "slots": None if health.slots is None else asdict(health.slots),
    }


default_handlers = [(r"/bodhi/health", HealthHandler), (r"/bodhi/v1/backends", BackendsHandler)]
