"""The Jupyter servers that this user runs on this machine, asked as any client asks them."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.serverapp import list_running_servers

from .access.environment import kernel_base_url
from .wire.address import login_headers

#: Seconds for what needs no model.
QUESTION_SECONDS = 10.0


class Unreachable(Exception):
    """The server gave no answer that can be used; the text is a clause that says why.

    Attributes:
        advice: what to do about it, or "" where the clause says it.
    """

    def __init__(self, clause: str, advice: str = "If it hangs or was killed, start it again") -> None:
        super().__init__(clause)
        self.advice = advice


@dataclass(frozen=True)
class RunningServer:
    """A server, as its runtime file tells.

    Attributes:
        url: without a trailing slash; a loopback address where it listens on one.
        token: opens everything there; "" where a password or nothing does.
        root: the folder that it shows.
        socket: its Unix socket, or "".
    """

    url: str
    token: str = field(repr=False)
    root: str
    socket: str

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> RunningServer:
        """The server that a runtime file (``jpserver-<pid>.json``) describes."""
        url = str(info["url"]).rstrip("/")
        if not info["sock"] and not info["secure"]:
            # The file names the host, which may be one that only other machines can resolve.
            url = kernel_base_url(ip=info["hostname"], port=info["port"], base_url=info["base_url"]).url or url
        return cls(url, str(info["token"]), str(info["root_dir"]), str(info["sock"]))

    @property
    def port(self) -> int | None:
        """Where it listens; None for a Unix socket."""
        return None if self.socket else urlsplit(self.url).port

    def ask(self, method: str, path: str, document: object = None, seconds: float = QUESTION_SECONDS) -> ServerAnswer:
        """Send a request with the server's token.

        Raises:
            Unreachable: no answer came.
        """
        body = None if document is None else json.dumps(document).encode()
        base = f"http://localhost{urlsplit(self.url).path}" if self.socket else self.url
        headers = login_headers(self.token)
        request = urllib.request.Request(base + path, body, headers, method=method)  # noqa: S310 - from the runtime file
        # No proxy may see the token.
        handlers = [_SocketHandler(self.socket)] if self.socket else []
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
        try:
            return _answer(opener, request, seconds)
        except http.client.HTTPException:
            # The runtime file of a server that was killed stays, and its port may have become another program's.
            raise Unreachable("what answers there is no web server, or it broke off") from None
        except OSError as error:
            raise _unreachable(error, seconds) from None


@dataclass(frozen=True)
class ServerAnswer:
    """What a server said."""

    status: int
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body's JSON object; empty where it is something else, such as a page."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def error(self) -> str:
        """The message of an error in OpenAI's shape, or the status in words."""
        error = self.document.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        return str(message or f"it answered with status {self.status}")


def running_servers() -> list[RunningServer]:
    """All of them, those that were started first first."""
    infos = sorted(list_running_servers(), key=lambda info: int(info["pid"]))
    return [RunningServer.of(info) for info in infos]


class _SocketHandler(urllib.request.HTTPHandler):
    """Sends what is for http over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SocketConnection, path=self._path), req)


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, path: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _answer(opener: urllib.request.OpenerDirector, request: urllib.request.Request, seconds: float) -> ServerAnswer:
    """The answer, whatever its status."""
    try:
        with opener.open(request, timeout=seconds) as response:
            return ServerAnswer(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return ServerAnswer(error.code, error.read())


def _unreachable(error: OSError, seconds: float) -> Unreachable:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        if "mismatch" in reason.verify_message:
            return Unreachable("its TLS certificate is for another address than this one", advice="")
        return Unreachable(
            "its TLS certificate is not trusted here (set SSL_CERT_FILE to the certificate, or to its authority's)",
            advice="",
        )
    if isinstance(reason, TimeoutError):
        return Unreachable(f"no answer within {seconds:g} seconds")
    return Unreachable(getattr(reason, "strerror", None) or str(reason))
