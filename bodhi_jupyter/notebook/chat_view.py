"""The chat as a widget: what Python and the browser share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import httpx
from traitlets import Dict, List, Unicode

from .attach import MAX_KEPT, attachment_of
from .client import connect
from .closing import close_parts
from .kernel_side import KernelSide
from .tools import Tools
from .view import style, view_module


class ChatView(anywidget.AnyWidget):
    """A chat in a notebook. What Python sets here the browser shows, and the other way round.

    The browser talks to the server itself, so that a chat goes on while a cell runs. While an answer streams the
    browser holds the truth; what was said arrives here once the kernel is free, or before that on another thread.

    Args:
        tools: functions that the model may ask for; each call is shown, and runs when the person says so.
        http: makes a client for the server, for pages that cannot reach it themselves; by default `connect` finds it.
        traits: the attributes below.

    Attributes:
        messages: of the chat that is shown, in OpenAI's shape: ``role``, ``content`` (a text, or a list of parts),
            ``tool_calls``. Answers have more, which is never sent back: ``reasoning``, a text, and ``stats``, with the
            keys of `last` but ``text``.
        chats: the chats that are put aside: ``id``, ``title``, ``messages``, ``system``.
        chat: the ``id`` of the chat that is shown.
        title: its name; without one it is called by its first question.
        model: the name that answers.
        models: what the person may choose from, which the browser asks the server for: ``id``, ``description``,
            ``state``, ``capabilities``, ``n_ctx`` in tokens, ``defaults``, the alias's parameters, and of the default
            model ``stands_for``, its own name.
        system: the system prompt; with none the alias's own holds.
        parameters: what goes into requests in OpenAI's names, as in ``{"temperature": 0.2}``.
        tools: functions that the model may call, as OpenAI describes them; `offer` adds one.
        attachments: what goes with the next message: ``kind`` (``text`` or ``image``), ``name``, and ``text`` or
            ``url``, a ``data:`` URL.
        last: the last answer: ``text``, ``model``, ``prompt_tokens``, ``completion_tokens``, ``tokens_per_second``,
            ``first_token_seconds``, ``seconds``, ``finish_reason`` (``stopped`` where the person stopped it).
        growing: the answer that is being written, a message, as far as the browser told; ``{}`` where none is. Other
            pages that show the chat show that; of a page that was left it is what had come by then.
        status: ``state``, one of ``ready``, ``answering``, ``failed``, ``no server``; and ``detail``, a sentence.
    """

    _esm = view_module()
    _css = style()

    messages = List(Dict()).tag(sync=True)
    chats = List(Dict()).tag(sync=True)
    chat = Unicode("1").tag(sync=True)
    title = Unicode().tag(sync=True)
    model = Unicode("default").tag(sync=True)
    models = List(Dict()).tag(sync=True)
    system = Unicode().tag(sync=True)
    parameters = Dict().tag(sync=True)
    tools = List(Dict()).tag(sync=True)
    attachments = List(Dict()).tag(sync=True)
    last = Dict().tag(sync=True)
    growing = Dict().tag(sync=True)
    status = Dict({"state": "ready", "detail": ""}).tag(sync=True)

    def __init__(
        self,
        tools: Sequence[Callable[..., Any]] = (),
        *,
        http: Callable[[], httpx.AsyncClient] | None = None,
        **traits: Any,
    ) -> None:
        super().__init__(**traits)
        self._tools = Tools()
        self._kernel_side = KernelSide(self.send, http or (lambda: connect().async_http()), self._tools)
        self.on_msg(lambda _, message, __: self._kernel_side.receive(message))
        for function in tools:
            self.offer(function)

    def close(self) -> None:
        """End it, and what it has begun: here and in the browser."""
        if self.comm is None:  # closed already, or never made: Python closes what it drops
            return
        self._kernel_side.close()
        close_parts(self)
        super().close()

    def offer(self, function: Callable[..., Any]) -> None:
        """Let the model ask for a function of the notebook; its docstring and its types say what it is for.

        Raises:
            pydantic.errors.PydanticUserError: a parameter's type has no JSON schema.
            NameError: it is not known. In both cases the function is not offered.
        """
        self._tools.add(function)
        self.tools = self._tools.describe()

    def refresh_models(self) -> None:
        """Let the browser ask again which models there are; in place of a chosen one that is gone comes the default."""
        self.send({"kind": "models"})

    def attach(self, thing: Any, name: str = "") -> None:
        """Put something with the next message: see `attachment_of`.

        Raises:
            ValueError: it is bytes that are neither an image nor text, or more than the chats can hold together.
        """
        attachment = attachment_of(thing, name)
        attachments = [*self.attachments, attachment]
        if (
            len(json.dumps([self.messages, self.chats, attachments], ensure_ascii=False).encode(errors="replace"))
            > MAX_KEPT
        ):
            raise ValueError(f"{attachment['name']} does not fit: all chats together hold {MAX_KEPT // 2**20} MB.")
        self.attachments = attachments
