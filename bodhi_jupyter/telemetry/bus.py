"""Events on Jupyter's event bus, for whoever subscribes at ``/api/events/subscribe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_events import EventLogger

_FOLDER = Path(__file__).parent / "events"
MODEL = "https://events.bodhi-jupyter.dev/model/v1"


class EventBus:
    """Emits our events through the server's event logger."""

    def __init__(self, event_logger: EventLogger) -> None:
        self._event_logger = event_logger
        event_logger.register_event_schema(_FOLDER / "model.yaml")

    def model(self, action: str, alias: str, *, seconds: float | None = None, reason: str = "") -> None:
        """Tell of a model that was ``loaded`` (in `seconds`), ``unloaded`` or ``failed``."""
        data: dict[str, Any] = {"action": action, "alias": alias}
        if seconds is not None:
            data["seconds"] = seconds
        if reason:
            data["reason"] = reason
        self._event_logger.emit(schema_id=MODEL, data=data)
