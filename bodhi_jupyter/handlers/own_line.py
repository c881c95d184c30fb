"""What the log has of a request besides our own line: nothing. Jupyter's would show headers of those that failed."""

from __future__ import annotations

import logging
from functools import lru_cache

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.prometheus.metrics import HTTP_REQUEST_DURATION_SECONDS
from prometheus_client import Histogram


class OwnLine(JupyterHandler):
    """Put before Jupyter's handlers, it takes the place of the server's function that logs requests."""

    def _log(self) -> None:
        """Count the request in Jupyter's own metrics, which that function does, too."""
        if getattr(self.serverapp, "record_http_request_metrics", True):
            handler = f"{type(self).__module__}.{type(self).__name__}"
            _durations(handler, self.request.method, self.get_status()).observe(self.request.request_time())


@lru_cache(maxsize=1024)
def _durations(handler: str, method: str | None, status: int) -> Histogram:
    """Jupyter's series, labelled as its `prometheus_log_method` does; finding it costs more than counting in it."""
    series: Histogram = HTTP_REQUEST_DURATION_SECONDS.labels(method=method, handler=handler, status_code=status)
    return series


def is_heard(log: logging.Logger | logging.LoggerAdapter[logging.Logger], level: int) -> bool:
    """Whether any handler takes a line of this level.

    Jupyter's loggers take all, and leave it to their handlers: a line that nobody reads would be made for each request.
    """
    logger: logging.Logger | None = log.logger if isinstance(log, logging.LoggerAdapter) else log
    if logger is None or not logger.isEnabledFor(level):
        return False
    while logger is not None:
        for handler in logger.handlers:
            if handler.level <= level:
                return True
        logger = logger.parent if logger.propagate else None
    return False
