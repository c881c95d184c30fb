"""What a request's record says of it when it arrives."""

from __future__ import annotations

import os
import time

from tornado.httputil import HTTPServerRequest

from ..wire.client import client_of
from ..wire.record import RequestRecord, api_path, dialect_of
from .route_names import RouteNames


def new_record(request: HTTPServerRequest, base_url: str, routes: RouteNames) -> RequestRecord:
    """The record of a request whose headers have come.

    Args:
        request: its path may hold no key any more.
        base_url: the server's, with a slash at both ends.
        routes: names for counting.
    """
    method, path = str(request.method), f"/{request.path.removeprefix(base_url)}"
    client, version = client_of(request.headers)
    return RequestRecord(
        f"req_{os.urandom(16).hex()}",
        f"{method} {path}",
        dialect_of(path),
        started=time.time(),
        route=routes.name(method, api_path(path)),
        client=client,
        client_version=version,
    )
