"""What every route of ours shares: who is asking, how large the body may be, how an error looks, how it ends."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jupyter_server.auth.authorizer import Authorizer
from jupyter_server.auth.decorator import authorized
from jupyter_server.auth.identity import IdentityProvider
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web
from tornado.iostream import StreamClosedError

from ..access.keys import KeyHolder
from ..access.person import person_of
from ..backends.context_sizes import with_requested_context
from ..catalog.alias import Alias, LocalTarget
from ..wire.errors import (
    BackendError,
    BodyCompressed,
    BodyTooLarge,
    GatewayError,
    InternalError,
    MalformedBody,
    MethodNotAllowed,
    NotAuthenticated,
    StillLoading,
    openai_envelope,
    response_headers,
)
from ..wire.json_text import compact
from ..wire.record import CURRENT
from ..wire.scoped_key import PREFIX
from ..wire.sse import data_event
from .arrival import new_record
from .failures import failure_line
from .foreign_errors import defect, error_for, methods_of
from .gateway import GATEWAY
from .identity import SCOPED_AUTHORIZER, SCOPED_IDENTITY, not_authenticated
from .once import OnceForAll
from .other_origins import OtherOrigins
from .own_line import OwnLine, is_heard
from .streams import StreamedAnswers

AUTH_RESOURCE = "bodhi"
#: A refused body up to this size is read and dropped before the refusal is sent.
MAX_DRAINED_BYTES = 16 * 2**20

Method = Callable[..., Awaitable[None] | None]

_BEARER = re.compile(r"(?:bearer|token)\s+(\S+)\s*$", re.IGNORECASE)

_COMPRESSED = re.compile(r"\b(?:gzip|deflate|br|zstd|compress)\b", re.IGNORECASE)


def for_one_verb(method: Method) -> Method:
    """A method behind authentication and authorization, where several verbs have the same: each needs its own of these.

    Jupyter's decorator works out once whether it stands before a read or a write, and keeps to it.
    """
    guarded: Method = web.authenticated(authorized(method))
    return guarded


@web.stream_request_body
class GatewayHandler(OwnLine, StreamedAnswers, OnceForAll, OtherOrigins, ExtensionHandlerMixin, APIHandler):
    """Base of every route.

    The body is collected here and not by Tornado, so that one that is too large is refused before it is in
    memory. The task that works for the request is cancelled when the client leaves.
    """

    auth_resource = AUTH_RESOURCE
    holder: KeyHolder | None = None
    #: Of the line that tells of a request that did not go well. Of one that did it is for debugging, as Jupyter's own.
    line_level = logging.INFO

    def initialize(self, name: str = "bodhi_jupyter") -> None:
        """Prepare what must exist however early the request fails."""
        super().initialize(name=name)
        # The headers did; the body may have been waited for (`small_bodies`).
        self._arrived = time.perf_counter() - self.request.request_time()
        self._body = bytearray()
        self._work: asyncio.Task[Any] | None = None
        self._client_left = False
        self._refusal: GatewayError | web.HTTPError | None = None

    # -- who is asking ---------------------------------------------------------------------------------------

    @property
    def identity_provider(self) -> IdentityProvider:
        """The server's own, or the scoped key's."""
        if self.holder:
            return SCOPED_IDENTITY
        # Jupyter asks six times for each request, and would look whether there is one each time.
        provider: IdentityProvider = self.application.settings["identity_provider"]
        return provider

    @property
    def authorizer(self) -> Authorizer:
        """The server's own, or for a scoped key one that knows no server-specific users (JupyterHub's would crash)."""
        return SCOPED_AUTHORIZER if self.holder else super().authorizer

    @property
    def max_body_bytes(self) -> int:
        """A larger body is refused."""
        return self.gateway.max_body_bytes

    def caller_key(self) -> str:
        """The key in the request's headers, or ""."""
        match = _BEARER.match(self.request.headers.get("Authorization", ""))
        return match.group(1) if match else ""

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate, then refuse what is too large by its declared length."""
        try:
            await self.authenticate()
        except (GatewayError, web.HTTPError) as error:
            if not self._can_be_read_first():
                raise
            self._refusal = error
            setattr(self, str(self.request.method).lower(), self._refuse)

    async def authenticate(self) -> None:
        """Authenticate, then look at the declared length.

        Raises:
            GatewayError: the request is refused before its body is looked at.
        """
        key = self.caller_key()
        if key.startswith(PREFIX):
            self.holder = self.gateway.keys.verify(key) or await self.gateway.keys.verify_long_lived(key)
            # JupyterHub asks this, and not the provider, whether a foreign page could have sent it (jupyterhub 6.1).
            self._token_authenticated = self.holder is not None
        elif (user := self.gateway.token_users.user_of(self, key)) is not None:
            # Jupyter takes who is known as they are; hosts, origins and the authorizer are still checked.
            self._jupyter_current_user, self._token_authenticated = user, True
        await super().prepare()
        if self.request.method == "OPTIONS":
            return  # a browser asks without a key whether it may ask with one
        if self.current_user is None:
            raise self._not_authenticated(key)
        user = self.current_user
        self.record.user = user.username
        self.record.person = person_of(self.holder, user.username, user.name, self.gateway.owner)
        self.record.kernel = self.holder.kernel if self.holder else None
        self.gateway.notebooks.note(self.record)
        if self._declared_length() > self.max_body_bytes:
            raise self._too_large()

    def _can_be_read_first(self) -> bool:
        """Whether a refusal may wait for the body, which is dropped.

        Many clients write the whole body before they read: a connection that is closed meanwhile eats the answer.
        """
        return self.request.headers.get("Expect", "") == "" and self._declared_length() <= MAX_DRAINED_BYTES

    async def _refuse(self, *args: str) -> None:  # noqa: ARG002
        assert self._refusal is not None
        raise self._refusal

    @staticmethod
    def _not_authenticated(key: str) -> NotAuthenticated:
        return not_authenticated(key)

    # -- the body --------------------------------------------------------------------------------------------

    def data_received(self, chunk: bytes) -> None:
        """Keep the body while it fits; past the limit it is read and dropped, so that the answer arrives."""
        if self._refusal is None and len(self._body) <= self.max_body_bytes:
            self._body += chunk

    @property
    def body(self) -> bytes:
        """The request's body, without the mark that Windows programs write before UTF-8.

        Raises:
            BodyTooLarge: it passes the limit.
        """
        if len(self._body) > self.max_body_bytes:
            raise self._too_large()
        return bytes(self._body).removeprefix(BOM_UTF8)

    def _declared_length(self) -> int:
        declared = self.request.headers.get("Content-Length", "0")
        # Python refuses to convert thousands of digits; nobody declares more than 18.
        return int(declared[:18]) if declared.isdecimal() else 0

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The request body is larger than the limit of {self.max_body_bytes} bytes.")

    def _compression(self) -> str:
        """What the body is said to be compressed with, or ""."""
        coding = self.request.headers.get("Content-Encoding", "")
        # Some name a charset there.
        return coding if _COMPRESSED.search(coding) else ""

    async def resolve(self, name: str) -> Alias:
        """The alias that the caller means; the name goes into the request's record.

        Raises:
            GatewayError: there is none, or its backend is silent.
        """
        self.record.note_model(name)
        try:
            alias = await self.gateway.catalog.resolve(name)
        except StillLoading as error:
            alias = await self.resolve_later(name, error)
        self.record.alias, self.record.backend = alias.name, alias.target.backend
        return alias

    async def resolve_later(self, name: str, error: StillLoading) -> Alias:  # noqa: ARG002
        """The alias where a server cannot tell of it yet; who only asks about models does not wait.

        Raises:
            GatewayError: `error`, or as `resolve` does.
        """
        raise error

    async def with_context(self, alias: Alias, tokens: int | None) -> Alias:
        """The alias with the context that the caller requests, if that is more than it has; a server's is its own."""
        if tokens is None or not isinstance(alias.target, LocalTarget):
            return alias
        metadata = await self.gateway.details.read(alias.target.file)
        return with_requested_context(alias, tokens, metadata.context_length if metadata else None)

    # -- the work --------------------------------------------------------------------------------------------

    async def work(self, task: Coroutine[Any, Any, None]) -> None:
        """Do the request's work; the client leaving cancels it, wherever it waits."""
        if self._client_left:
            task.close()
            self._note_client_left()
            return
        CURRENT.set(self.record)
        # Tornado's own task: another one would cost a turn of the event loop.
        self._work = working = asyncio.current_task()
        assert working is not None
        self.gateway.in_flight[self.record.request_id] = self.record
        try:
            await task
        except asyncio.CancelledError:
            if not self._client_left:
                raise
            working.uncancel()
            self._note_client_left()
        except StreamClosedError:
            self._note_client_left()
        except GatewayError as error:
            if not self._streaming:
                raise
            await self._fail_stream(error)
        except Exception as error:
            if not self._streaming:
                raise
            # A defect of ours must not look like the end of an answer.
            self.log_exception(type(error), error, error.__traceback__)
            await self._fail_stream(defect())
        finally:
            self._work = None
            self._stop_heartbeat()
            self.gateway.in_flight.pop(self.record.request_id, None)

    def on_connection_close(self) -> None:
        """The client left: stop what `work` does for it; what else was begun goes on to its end."""
        is_body_there = self.request._body_future.done()  # noqa: SLF001 - Tornado tells it nowhere else
        super().on_connection_close()
        self._client_left = True
        if self._work is not None:
            self._work.cancel()
        elif not self._finished:
            self._note_client_left()
            # Tornado forgets a request whose body never came; its record is to be closed all the same.
            if not is_body_there:
                self.finish()

    def _note_client_left(self) -> None:
        self.record.end = "client left"
        if not self._headers_written:
            # Nobody reads it; logs and metrics do (499 is nginx's "client closed request").
            self.set_status(499, "Client Closed Request")

    async def _fail_stream(self, error: GatewayError) -> None:
        """Tell of the failure inside the stream, whose status is long sent; no other end follows."""
        self._stop_heartbeat()
        self.note_error(error)
        try:
            self.write(self.render_stream_error(error))
            await self.finish_stream()
        except StreamClosedError:
            self._note_client_left()

    def answer_json(self, document: object) -> None:
        """Finish with a JSON document."""
        self.finish(compact(document))

    # -- headers, errors, the end ----------------------------------------------------------------------------

    def set_default_headers(self) -> None:
        """Jupyter's, and the request's id; called again whenever an error clears the headers."""
        if not hasattr(self, "record"):
            self.gateway = self.settings[GATEWAY]
            self.record = new_record(self.request, self.settings.get("base_url", "/"), self.gateway.routes)
        super().set_default_headers()
        self.set_header("x-request-id", self.record.request_id)

    def update_api_activity(self) -> None:
        """Jupyter's, by which a hub stops servers that nobody uses: handlers whom a panel asks again and again say no.

        A query that cannot be read must not keep the answer from being finished.
        """
        try:  # noqa: SIM105 - `suppress` is three calls for each request
            super().update_api_activity()
        except web.HTTPError:
            pass

    def compute_etag(self) -> None:
        """No entity tags: hashing an answer that is never asked for twice is wasted."""

    def error_of(self, exception: BaseException | None, status: int) -> GatewayError:
        """One of our errors for whatever was raised."""
        if isinstance(exception, MalformedBody) and self._body and (coding := self._compression()):
            return BodyCompressed(coding)
        if isinstance(exception, GatewayError):
            return exception
        if isinstance(exception, web.HTTPError):
            status = exception.status_code
        # Not `current_user`: that raises where a provider refused before there was one.
        user = getattr(self, "_jupyter_current_user", None)
        if status == 403 and user is None and self.check_host():
            return self._not_authenticated(self.caller_key())
        return error_for(
            status,
            str(self.request.method),
            is_known_host=self.check_host(),
            # Asked only then: it raises where a provider refused before there was a user.
            token_authenticated=status == 403 and self.token_authenticated,
        )

    def render_error(self, error: GatewayError) -> dict[str, object]:
        """The error's body in this handler's dialect: OpenAI's unless a subclass speaks another."""
        return openai_envelope(error, endpoint=self.record.endpoint, model=self.record.model)

    def error_status(self, error: GatewayError) -> int:
        """The HTTP status that the error has in this handler's dialect."""
        return error.status

    def render_stream_error(self, error: GatewayError) -> bytes:
        """The same as the last event of a stream whose status is long sent."""
        return data_event(compact(self.render_error(error)))

    def note_error(self, error: GatewayError) -> None:
        """Put the error into the request's record."""
        self.record.error, self.record.error_kind = error.code, error.default_code
        self.record.field = error.param
        self.record.end = "failed"
        if isinstance(error, BackendError | InternalError):
            self.log.warning("%s", failure_line(error, self.record))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Render whatever was raised, in this handler's dialect."""
        if getattr(self, "_jupyter_current_user", None) is not None:
            self.set_cors_headers()  # lost with the other headers when the error cleared them
        exc_info = kwargs.get("exc_info")
        error = self.error_of(exc_info[1] if exc_info else None, status_code)
        self.note_error(error)
        self.set_status(self.error_status(error))
        for name, value in response_headers(error).items():
            self.set_header(name, value)
        if isinstance(error, MethodNotAllowed):
            self.set_header("Allow", ", ".join(methods_of(type(self))))
        self.answer_json(self.render_error(error))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:  # noqa: ARG002
        """A traceback only for defects of ours: what callers and backends do wrong is in the request's line."""
        is_refusal = isinstance(value, GatewayError) or (isinstance(value, web.HTTPError) and value.status_code < 500)
        if not is_refusal:
            self.log.error("request_id=%s failed", self.record.request_id, exc_info=value)

    def on_finish(self) -> None:
        """Close the request's record, and log it in one line where somebody reads it."""
        super().on_finish()
        self.record.status = self.get_status()
        self.record.seconds = time.perf_counter() - self._arrived
        went_well = self.record.status < 400 and self.record.end == "finished"
        level = logging.DEBUG if went_well else self.line_level
        if is_heard(self.log, level):
            self.log.log(level, "%s ip=%s", self.record.line(), self.request.remote_ip)
        self.gateway.recorder.record(self.record)
