"""One record, told to everybody who takes records."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..wire.record import Recorder, RequestRecord


class Recorders:
    """Passes each record on to several recorders; the failure of one is logged and hurts neither request nor others.

    Attributes:
        recorders: in the order in which they are told.
    """

    def __init__(
        self, recorders: Sequence[Recorder], log: logging.Logger | logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self.recorders = recorders
        self._log = log

    def record(self, record: RequestRecord) -> None:
        """Tell each of them."""
        for recorder in self.recorders:
            try:
                recorder.record(record)
            except Exception:
                self._log.exception("request_id=%s was not recorded by %s", record.request_id, type(recorder).__name__)
