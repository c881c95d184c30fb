"""The server's state at the moment of a scrape."""

from __future__ import annotations

from ..backends.engine_reading import read_engines
from ..telemetry.live import LiveSource
from .gateway import Gateway


def live_source(gateway: Gateway) -> LiveSource:
    """How the gateway's state is asked for."""
    pool = gateway.pool
    return LiveSource(
        streams=lambda: [
            record.dialect for record in gateway.in_flight.values() if record.streamed and record.runs_model
        ],
        waiting=lambda: {
            "admission": gateway.admission.waiting,
            "model": sum(state.waiting for state in pool.states().values()) + gateway.upstream.waiting,
        },
        engines=lambda: {name: state.estimate for name, state in pool.states().items() if state.pid is not None},
        read_engines=lambda: read_engines(pool.engines(), gateway.upstream),
    )
