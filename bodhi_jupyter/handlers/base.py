"""What every route of ours shares: who is asking, how large the body may be, how an error looks, how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from jupyter_server.auth.authorizer import AllowAllAuthorizer, Authorizer
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web
from tornado.iostream import StreamClosedError

from ..access.keys import PREFIX, KeyHolder, KeyRing, looks_foreign
from ..backends.base import Backend
from ..backends.pool import LocalPool
from ..backends.transport import Upstream
from ..catalog.broken import BrokenFile
from ..catalog.catalog import Catalog
from ..catalog.details import Details
from ..catalog.store import AliasStore
from ..wire.errors import (
    BodyTooLarge,
    GatewayError,
    InternalError,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    RequestError,
    openai_envelope,
    response_headers,
)
from ..wire.record import RequestRecord
from ..wire.sse import comment, data_event

AUTH_RESOURCE = "bodhi"
STREAM_TYPE = "text/event-stream; charset=utf-8"
#: How long the headers of a stream wait for its first event, so that an early failure keeps its status.
HOLD_SECONDS = 10.0
#: Proxies give up on connections that are idle for a minute, some for half of one.
BEAT_SECONDS = 10.0
GATEWAY = "bodhi_gateway"

_BEARER = re.compile(r"(?:bearer|token)\s+(\S+)\s*$", re.IGNORECASE)


@dataclass
class Gateway:
    """What the handlers work with, given to them by the extension through the application's settings.

    Attributes:
        max_body_bytes: a request body above this is refused with 413.
        broken_files: the alias and model files that cannot be used, as they were last seen.
        in_flight: requests being answered now, by request id.
    """

    catalog: Catalog
    aliases: AliasStore
    details: Details
    backends: dict[str, Backend]
    pool: LocalPool
    upstream: Upstream
    keys: KeyRing
    max_body_bytes: int
    broken_files: Callable[[], list[BrokenFile]]
    in_flight: dict[str, RequestRecord] = field(default_factory=dict)


class ScopedIdentity(IdentityProvider):
    """Stands in for the server's identity provider on requests that bring a scoped key."""

    def get_user(self, handler: web.RequestHandler) -> User | None:
        """The key's holder, as a user of that name."""
        assert isinstance(handler, GatewayHandler)
        assert handler.holder is not None
        return User(username=handler.holder.holder)

    def is_token_authenticated(self, handler: web.RequestHandler) -> bool:  # noqa: ARG002
        """Always: a key in a header cannot be sent by a foreign page, so no XSRF check is needed."""
        return True


# Shared: making one for every request would cost more than checking the key.
_SCOPED_IDENTITY = ScopedIdentity()
_SCOPED_AUTHORIZER = AllowAllAuthorizer()


@web.stream_request_body
class GatewayHandler(ExtensionHandlerMixin, APIHandler):
    """Base of every route.

    The body is collected here and not by Tornado, so that one that is too large is refused before it is in
    memory. The work runs as a task of its own, which is cancelled when the client leaves.
    """

    auth_resource = AUTH_RESOURCE
    holder: KeyHolder | None = None

    def initialize(self, name: str = "bodhi_jupyter") -> None:
        """Prepare what must exist however early the request fails."""
        super().initialize(name=name)
        self._arrived = time.perf_counter()
        self._body = bytearray()
        self._work: asyncio.Task[None] | None = None
        self._client_left = False
        self._streaming = False
        self._heartbeat: asyncio.Task[None] | None = None

    # -- who is asking ---------------------------------------------------------------------------------------

    @property
    def gateway(self) -> Gateway:
        """The services of the extension."""
        gateway = self.settings[GATEWAY]
        assert isinstance(gateway, Gateway)
        return gateway

    @property
    def identity_provider(self) -> IdentityProvider:
        """The server's own, or the scoped key's."""
        return _SCOPED_IDENTITY if self.holder else super().identity_provider

    @property
    def authorizer(self) -> Authorizer:
        """The server's own, or for a scoped key one that knows no server-specific users (JupyterHub's would crash)."""
        return _SCOPED_AUTHORIZER if self.holder else super().authorizer

    def caller_key(self) -> str:
        """The key in the request's headers, or ""."""
        match = _BEARER.match(self.request.headers.get("Authorization", ""))
        return match.group(1) if match else ""

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate, then refuse what is too large by its declared length."""
        key = self.caller_key()
        if key.startswith(PREFIX):
            self.holder = self.gateway.keys.verify(key)
            if self.holder is None:
                raise NotAuthenticated("This key is no longer valid: the kernel or server it was made for has ended.")
        await super().prepare()
        if self.current_user is None:
            raise self._not_authenticated(key)
        self.record.user = self.current_user.username
        self.gateway.in_flight[self.record.request_id] = self.record
        if self._declared_length() > self.gateway.max_body_bytes:
            raise self._too_large()

    @staticmethod
    def _not_authenticated(key: str) -> NotAuthenticated:
        if not key:
            return NotAuthenticated(
                "No key was sent. Use the Jupyter server's token as a bearer key, or start the notebook's kernel "
                "again: each new kernel is given a key of its own."
            )
        foreign = looks_foreign(key)
        if foreign:
            return NotAuthenticated(f"Incorrect API key provided. {foreign.advice()}")
        return NotAuthenticated(
            "Incorrect API key provided: it is neither the Jupyter server's token nor a key of ours."
        )

    # -- the body --------------------------------------------------------------------------------------------

    def data_received(self, chunk: bytes) -> None:
        """Keep the body while it fits; past the limit it is read and dropped, so that the answer arrives."""
        if len(self._body) <= self.gateway.max_body_bytes:
            self._body += chunk

    @property
    def body(self) -> bytes:
        """The request's body.

        Raises:
            BodyTooLarge: it passes the limit.
        """
        if len(self._body) > self.gateway.max_body_bytes:
            raise self._too_large()
        return bytes(self._body)

    def _declared_length(self) -> int:
        declared = self.request.headers.get("Content-Length", "0")
        return int(declared) if declared.isdecimal() else 0

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The request body is larger than the limit of {self.gateway.max_body_bytes} bytes.")

    # -- the work --------------------------------------------------------------------------------------------

    async def work(self, task: Coroutine[Any, Any, None]) -> None:
        """Run the request's work; the client leaving cancels it, wherever it waits."""
        self._work = asyncio.ensure_future(task)
        if self._client_left:
            self._work.cancel()
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._client_left:
                raise
            self._note_client_left()
        except StreamClosedError:
            self._note_client_left()
        except GatewayError as error:
            if not self._streaming:
                raise
            await self._fail_stream(error)
        finally:
            self._stop_heartbeat()

    def on_connection_close(self) -> None:
        """The client left: stop working for it."""
        super().on_connection_close()
        self._client_left = True
        if self._work is not None:
            self._work.cancel()

    def _note_client_left(self) -> None:
        self.record.end = "client left"
        if not self._headers_written:
            # Nobody reads it; logs and metrics do (499 is nginx's "client closed request").
            self.set_status(499, "Client Closed Request")

    # -- streams ---------------------------------------------------------------------------------------------

    def expect_stream(self) -> None:
        """Announce a stream of events: if its first one takes long, comments keep proxies from giving up.

        Until then nothing is sent, so that an early failure keeps its status.
        """
        self._heartbeat = asyncio.create_task(self._beat())

    async def pass_on(self, block: bytes) -> None:
        """Send whole events, and wait while the client does not read."""
        if self.record.first_token_seconds is None:
            self.record.first_token_seconds = time.perf_counter() - self._arrived
            self._stop_heartbeat()
        self._begin_stream()
        self.write(block)
        await self.flush()

    async def finish_stream(self) -> None:
        """End the body at once: SDKs wait for it before they use the connection again."""
        await self.finish(set_content_type=STREAM_TYPE)

    def _begin_stream(self) -> None:
        if self._streaming:
            return
        self._streaming = True
        self.set_header("Content-Type", STREAM_TYPE)
        self.set_header("Cache-Control", "no-cache")
        # Proxies in front of hubs (nginx) would otherwise collect the stream.
        self.set_header("X-Accel-Buffering", "no")

    async def _fail_stream(self, error: GatewayError) -> None:
        """Tell of the failure inside the stream, whose status is long sent; no other end follows."""
        self.note_error(error)
        self.write(self.render_stream_error(error))
        await self.finish_stream()

    async def _beat(self) -> None:
        await asyncio.sleep(HOLD_SECONDS)
        while True:
            self._begin_stream()
            self.write(comment("waiting"))
            await self.flush()
            await asyncio.sleep(BEAT_SECONDS)

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    def answer_json(self, document: object) -> None:
        """Finish with a JSON document."""
        self.finish(json.dumps(document, ensure_ascii=False, separators=(",", ":")))

    # -- headers, errors, the end ----------------------------------------------------------------------------

    def set_default_headers(self) -> None:
        """Jupyter's, and the request's id; called again whenever an error clears the headers."""
        super().set_default_headers()
        if not hasattr(self, "record"):
            self.record = RequestRecord(f"req_{uuid.uuid4().hex}", self._endpoint())
        self.set_header("x-request-id", self.record.request_id)

    def _endpoint(self) -> str:
        base = self.settings.get("base_url", "/")
        return f"{self.request.method} /{self.request.path.removeprefix(base)}"

    def compute_etag(self) -> None:
        """No entity tags: hashing an answer that is never asked for twice is wasted."""

    def error_of(self, exception: BaseException | None, status: int) -> GatewayError:
        """One of our errors for whatever was raised."""
        if isinstance(exception, GatewayError):
            return exception
        if isinstance(exception, web.HTTPError):
            status = exception.status_code
        if status == 405:
            return MethodNotAllowed(f"{self.request.method} is not allowed here.")
        if status == 403 and self.current_user is None and self.check_host():
            return self._not_authenticated(self.caller_key())
        if status in {403, 404} and not self.check_host():
            return NotAllowed("This server answers only to local host names (`ServerApp.allow_remote_access`).")
        if status == 403 and self.token_authenticated:
            return NotAllowed("The Jupyter server's authorizer does not allow this user to do that.")
        if status in {403, 404}:
            # A cookie without the XSRF header, or a page of another origin.
            return NotAllowed(
                "Requests that log in by cookie need the X-XSRFToken header and the server's own origin; "
                "a bearer key needs neither."
            )
        if 400 <= status < 500:
            return RequestError("The request could not be understood.")
        return InternalError("The gateway failed; the server's log has the details under this request's id.")

    def render_error(self, error: GatewayError) -> dict[str, object]:
        """The error's body in this handler's dialect: OpenAI's unless a subclass speaks another."""
        return openai_envelope(error, endpoint=self.record.endpoint, model=self.record.model)

    def render_stream_error(self, error: GatewayError) -> bytes:
        """The same as the last event of a stream whose status is long sent."""
        return data_event(json.dumps(self.render_error(error), ensure_ascii=False).encode())

    def note_error(self, error: GatewayError) -> None:
        """Put the error into the request's record."""
        self.record.error = error.code
        self.record.end = "failed"

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Render whatever was raised, in this handler's dialect."""
        exc_info = kwargs.get("exc_info")
        error = self.error_of(exc_info[1] if exc_info else None, status_code)
        self.note_error(error)
        self.set_status(error.status)
        for name, value in response_headers(error).items():
            self.set_header(name, value)
        self.answer_json(self.render_error(error))

    def log_exception(
        self,
        typ: type[BaseException] | None,  # noqa: ARG002
        value: BaseException | None,
        tb: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """A traceback only for defects of ours: what callers and backends do wrong is in the request's line."""
        if not isinstance(value, GatewayError | web.HTTPError):
            self.log.error("request_id=%s failed", self.record.request_id, exc_info=value)

    def on_finish(self) -> None:
        """Close the request's record and log it in one line."""
        super().on_finish()
        self.gateway.in_flight.pop(self.record.request_id, None)
        self.record.status = self.get_status()
        self.record.seconds = time.perf_counter() - self._arrived
        self.log.info("%s", self.record.line())
