"""The panel: a chat, the models, and what happened, in one widget with one state."""

from __future__ import annotations

from typing import NamedTuple

import ipywidgets as widgets
from traitlets import Dict, List, Unicode

from .answer import Speed, speeds
from .chat import Choice
from .chat_view import ChatView
from .client import connect
from .closing import close_parts
from .errors import ServerNotFound
from .model_browser import ModelBrowser
from .plots import Plots
from .text import element

_TITLES = ("Chat", "Models", "Activity")


class _Parts(NamedTuple):
    chat: ChatView
    models: ModelBrowser
    plots: Plots


class Panel(widgets.VBox):
    """A chat, a model browser and plots as tabs. What Python sets here the browser shows, and the other way round.

    Attributes:
        messages: of the chat, in OpenAI's shape.
        model: who answers.
        last: the last answer and its numbers; empty before there is one.
    """

    messages = List(Dict())
    model = Unicode("default")
    last = Dict()

    def __init__(self) -> None:
        self._parts: _Parts | None = None
        self._lack = ""
        try:
            server = connect()
        except ServerNotFound as error:
            # Its state stays: a cell below that sets it need not fail too.
            self._lack = str(error)
            super().__init__([widgets.HTML(element("p", error, role="alert"))])
            return
        self._parts = _Parts(ChatView(model=Choice.model), ModelBrowser(server), Plots(server))
        self._tabs = widgets.Tab(list(self._parts), titles=_TITLES)
        super().__init__([self._tabs], model=self.chat.model)
        self.add_class("bodhi-ui-panel")
        for name in ("messages", "model", "last"):
            widgets.link((self, name), (self.chat, name))
        self.models.observe(self._use, "used")
        self.models.observe(lambda _: self.chat.refresh_models(), "names")
        self.observe(self._note_speed, "last")

    @property
    def chat(self) -> ChatView:
        """The chat itself.

        Raises:
            ServerNotFound: none was known when the panel was made. So do the other parts.
        """
        return self._known().chat

    @property
    def models(self) -> ModelBrowser:
        """The model browser."""
        return self._known().models

    @property
    def plots(self) -> Plots:
        """The plots."""
        return self._known().plots

    def close(self) -> None:
        """End it, and all of its parts."""
        close_parts(self)
        super().close()

    def _known(self) -> _Parts:
        if self._parts is None:
            raise ServerNotFound(self._lack)
        return self._parts

    def _use(self, change: dict[str, str]) -> None:
        if not change["new"]:
            return
        self.model = change["new"]
        self._tabs.selected_index = _TITLES.index("Chat")

    def _note_speed(self, change: dict[str, dict[str, object]]) -> None:
        last = change["new"]
        tokens, seconds = last.get("completion_tokens"), _number(last.get("seconds"))
        if isinstance(tokens, int) and seconds is not None:
            first, speed = _number(last.get("first_token_seconds")), _number(last.get("tokens_per_second"))
            speeds.add(Speed(str(last.get("model", "")), tokens, seconds, first, speed))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
