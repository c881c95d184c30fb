"""What the log has of a request besides our own line: nothing. Jupyter's would show headers of those that failed."""

from __future__ import annotations

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.prometheus.log_functions import prometheus_log_method


class OwnLine(JupyterHandler):
    """Put before Jupyter's handlers, it takes the place of the server's function that logs requests."""

    def _log(self) -> None:
        """Count the request in Jupyter's own metrics, which that function does, too."""
        if getattr(self.serverapp, "record_http_request_metrics", True):
            prometheus_log_method(self)  # type: ignore[no-untyped-call]
