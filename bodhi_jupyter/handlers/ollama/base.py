"""What Ollama's routes share: its errors, its lines, its clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from ...catalog.alias import Alias, LocalTarget
from ...wire.errors import GatewayError
from ...wire.json_text import compact
from ...wire.ollama_errors import ollama_status, ollama_text
from ...wire.ollama_stream import Timestamps
from ..base import GatewayHandler
from ..lease import TimedLease
from ..off_loop import off_loop

T = TypeVar("T")

NDJSON = "application/x-ndjson"
#: What a request that only names a model has at most.
NAMES_BYTES = 64 * 2**10
JSON = "application/json; charset=utf-8"


class OllamaHandler(GatewayHandler):
    """Base of Ollama's routes. None sends empty lines to keep a connection alive: its Python client fails on them."""

    stream_type = NDJSON
    #: The most that a body may have, where names are all that it is to hold.
    most_body_bytes: int | None = None

    @property
    def max_body_bytes(self) -> int:
        """The route's own limit, or the server's where that is smaller."""
        limit = super().max_body_bytes
        return limit if self.most_body_bytes is None else min(limit, self.most_body_bytes)

    def render_error(self, error: GatewayError) -> dict[str, object]:
        """One string, in Ollama's words."""
        return {"error": ollama_text(error, model=self.record.model, endpoint=self.record.endpoint)}

    def render_stream_error(self, error: GatewayError) -> bytes:
        """The same as a last line."""
        return compact(self.render_error(error)) + b"\n"

    def error_status(self, error: GatewayError) -> int:
        """Ollama's."""
        return ollama_status(error)

    def answer_json(self, document: object) -> None:
        """Finish with a JSON document, whose type Ollama's clients look for."""
        self.finish(compact(document), set_content_type=JSON)

    async def checked(self, parse: Callable[[bytes], T]) -> T:
        """The request's body, parsed; in a thread where it is large.

        Raises:
            GatewayError: it is refused.
        """
        body = self.body
        return await off_loop(len(body), parse, body)

    def timestamps(self) -> Timestamps:
        """The request's clock."""
        return Timestamps(time.perf_counter, timestamp, self._arrived)

    async def load_or_unload(self, alias: Alias, keep_alive: float | None) -> str:
        """What a request is for that asks nothing: load the model, or with a `keep_alive` of 0 unload it.

        A configured server unloads its models itself.

        Returns:
            Which it was, as Ollama's `done_reason`.

        Raises:
            GatewayError: it cannot be loaded.
        """
        if keep_alive == 0:
            if isinstance(alias.target, LocalTarget):
                self.gateway.pool.retire(alias.name, "asked to")
            return "unload"
        async with TimedLease(self.gateway.backends[alias.target.backend], alias, keep_alive):
            return "load"


def timestamp(seconds: float | None = None) -> str:
    """RFC 3339 in UTC, of now or of so many seconds since the epoch."""
    whole, rest = divmod(time.time_ns() if seconds is None else int(seconds * 1e9), 10**9)
    return f"{_second(whole)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    # Each line of a stream has a date, hundreds of them the same to the second.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def full_name(name: str) -> str:
    """The name with its tag: ``:latest`` is that of all which have none."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
