"""Events on Jupyter's event bus, for whoever subscribes at ``/api/events/subscribe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_events import EventLogger

    from ..wire.record import RequestRecord

_FOLDER = Path(__file__).parent / "events"
MODEL = "https://events.bodhi-jupyter.dev/model/v1"
REQUEST = "https://events.bodhi-jupyter.dev/request/v1"
LIMIT = "https://events.bodhi-jupyter.dev/limit/v1"


class EventBus:
    """Emits our events through the server's event logger."""

    def __init__(self, event_logger: EventLogger) -> None:
        self._event_logger = event_logger
        for name in ("request.yaml", "model.yaml", "limit.yaml"):
            event_logger.register_event_schema(_FOLDER / name)

    def record(self, record: RequestRecord) -> None:
        """Tell of a request that is over; those for management are nobody's news."""
        if record.dialect == "bodhi":
            return
        data: dict[str, Any] = {
            "request_id": record.request_id,
            "dialect": record.dialect,
            "endpoint": record.route,
            "client": record.client,
            "status": record.status,
            "end": record.end,
            "seconds": record.seconds,
        }
        # Nearly every request pays for it, heard or not: a table of these six would be half of an event's cost.
        if record.alias is not None:
            data["alias"] = record.alias
        if record.error is not None:
            data["error"] = record.error
        if record.field is not None:
            data["field"] = record.field
        if record.first_token_seconds is not None:
            data["first_token_seconds"] = record.first_token_seconds
        if record.prompt_tokens is not None:
            data["prompt_tokens"] = record.prompt_tokens
        if record.completion_tokens is not None:
            data["completion_tokens"] = record.completion_tokens
        self._event_logger.emit(schema_id=REQUEST, data=data)

    def model_changed(self, kind: str, alias: str, *, seconds: float | None = None, reason: str = "") -> None:
        """Tell of a model that was ``loaded`` (in `seconds`), ``unloaded`` or ``failed``."""
        data: dict[str, Any] = {"action": kind, "alias": alias}
        if seconds is not None:
            data["seconds"] = seconds
        if reason:
            data["reason"] = reason
        self._event_logger.emit(schema_id=MODEL, data=data)

    def limit_reached(self, limit: str, *, person: str, alias: str, retry_after: float) -> None:
        """Tell of a request that was refused because `limit`, as in "requests per minute for each user", is reached.

        Args:
            limit: which one, and of whom, in words.
            person: who it counts for.
            alias: the model that was asked for.
            retry_after: seconds until another attempt makes sense.
        """
        data = {"limit": limit, "person": person, "alias": alias, "retry_after": retry_after}
        self._event_logger.emit(schema_id=LIMIT, data=data)
