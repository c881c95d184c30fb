"""Streams to the caller: their head, their blocks, what is sent while the first one is waited for, and their end."""

from __future__ import annotations

import asyncio
import time

from jupyter_server.base.handlers import APIHandler
from tornado.iostream import IOStream

from ..wire.record import RequestRecord
from ..wire.sse import comment, event_count
from .framing import FramedAnswers, end_with_connection, framed, is_free, without_delay, write_chunk

STREAM_TYPE = "text/event-stream; charset=utf-8"
#: How long the headers of a stream wait for its first event, so that an early failure keeps its status.
HOLD_SECONDS = 10.0
#: Proxies give up on connections that are idle for a minute, some for half of one.
BEAT_SECONDS = 10.0


class StreamedAnswers(FramedAnswers, APIHandler):
    """What a route does to answer with a stream.

    Attributes:
        stream_type: the content type of streams.
        record: of the request.
        direct: the connection itself, once blocks may be written to it.
    """

    stream_type = STREAM_TYPE
    record: RequestRecord
    direct: IOStream | None = None
    _arrived: float
    _streaming = False
    _heartbeat: asyncio.TimerHandle | asyncio.Task[None] | None = None

    def expect_stream(self) -> None:
        """Announce a stream of events: if its first one takes long, comments keep proxies from giving up.

        For whatever is waited for behind this. Until then nothing is sent, so that an early failure keeps its status.
        """
        self._heartbeat = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._start_heartbeat)

    async def pass_on(self, block: bytes) -> None:
        """Send whole events, and wait while the client does not read."""
        if events := event_count(block):
            self.note_passed(events)
        await self._pass_uncounted(block)

    async def _pass_uncounted(self, block: bytes) -> None:
        if self.direct is not None:
            await write_chunk(self.direct, block)
        else:
            self._begin_stream()
            self.write(block)
            await self.flush()
            self.direct = framed(self)

    def note_passed(self, events: int) -> None:
        """So many events are sent now."""
        record = self.record
        record.last_token_seconds = time.perf_counter() - self._arrived
        if record.first_token_seconds is None:
            record.first_token_seconds = record.last_token_seconds
            self._stop_heartbeat()
        record.chunks += events

    async def finish_stream(self, last: bytes = b"") -> None:
        """Send the last events and the end of the body, together where the client reads: SDKs wait for it.

        They are ours, and count for nothing: ``[DONE]`` is no token of the engine's.
        """
        if last and self.record.first_token_seconds is None:
            self.note_passed(0)  # nothing came before, as where Ollama's final line is all: a call of a tool
        if last and self.direct is not None and is_free(self.direct):
            self.write(last)
        elif last:
            await self._pass_uncounted(last)
        await self.finish(set_content_type=self.stream_type)

    def _begin_stream(self) -> None:
        if self._streaming:
            return
        self._streaming = self.record.streamed = True
        without_delay(self)
        if self.request.version != "HTTP/1.1":
            end_with_connection(self)
        self.set_header("Content-Type", self.stream_type)
        self.set_header("Cache-Control", "no-cache")
        # Proxies in front of hubs (nginx) would otherwise collect the stream.
        self.set_header("X-Accel-Buffering", "no")

    @property
    def keeps_status(self) -> bool:
        """Whether what is waited for now may end in a status of its own, however long it takes."""
        return False

    def _start_heartbeat(self) -> None:
        if self.keeps_status:
            self.expect_stream()
        else:
            self._heartbeat = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            self._begin_stream()
            self.write(comment("waiting"))
            await self.flush()
            await asyncio.sleep(BEAT_SECONDS)

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None
