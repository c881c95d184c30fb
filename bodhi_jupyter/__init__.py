"""Local AI inside notebooks: OpenAI's and Anthropic's APIs beside the Jupyter server, answered by llama.cpp.

Importing this costs nothing: what the server and the notebook need is loaded when they ask for it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__"]

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server where the extension is."""
    from .extension import BodhiExtension

    return [{"module": "bodhi_jupyter.extension", "app": BodhiExtension}]
