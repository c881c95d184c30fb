"""Local AI inside notebooks: OpenAI's and Anthropic's APIs beside the Jupyter server, answered by llama.cpp.

Importing this costs nothing: what the server and the notebook need is loaded when they ask for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .notebook.usage import usage

__all__ = ["__version__", "usage"]

__version__ = "0.1.0"

#: What notebooks import from here, and where it is.
_PUBLIC = {"usage": "usage"}


def __getattr__(name: str) -> Any:
    """What a notebook asks for, loaded now."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.notebook.{_PUBLIC[name]}"), name)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension is."""
    from .extension import BodhiExtension

    return [{"module": "bodhi_jupyter.extension", "app": BodhiExtension}]
