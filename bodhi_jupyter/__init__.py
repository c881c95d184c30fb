"""Local AI inside notebooks: OpenAI's, Ollama's and Anthropic's APIs beside the Jupyter server, answered by llama.cpp.

Importing this costs nothing: what the server and the notebook need is loaded when they ask for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .notebook.chat import chat
    from .notebook.client import connect
    from .notebook.model_browser import ModelBrowser
    from .notebook.panel import Panel
    from .notebook.usage import usage

__all__ = ["ModelBrowser", "Panel", "__version__", "chat", "connect", "usage"]

__version__ = "0.1.0"

#: What notebooks import from here, and where it is.
_PUBLIC = {
    "ModelBrowser": "model_browser",
    "Panel": "panel",
    "chat": "chat",
    "connect": "client",
    "usage": "usage",
}


def __getattr__(name: str) -> Any:
    """What a notebook asks for, loaded now."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.notebook.{_PUBLIC[name]}"), name)


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """``%load_ext bodhi_jupyter``: the magics ``%%chat`` and ``%bodhi``."""
    from .notebook.magics import load

    load(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension is."""
    from .extension import BodhiExtension

    return [{"module": "bodhi_jupyter.extension", "app": BodhiExtension}]
