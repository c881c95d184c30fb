"""How libraries are asked: each in a kernel with what every kernel is given, and the engine.

They have environments of their own (``.ci/clients``); where one is not installed its test is skipped, unless
``BODHI_CLIENT_TESTS`` is set.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.live.kernel import Kernel

CITIES = {"Oslo", "Rome"}
MODELS = {"tiny-random", "default", "guide"}


def needs(module: str) -> pytest.MarkDecorator:
    missing = not os.environ.get("BODHI_CLIENT_TESTS") and not _is_installed(module)
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package around it
        return False


def ask(kernel: Kernel, library: str, refusal: str = "The model 'nobody-has-this' does not exist") -> dict[str, Any]:
    """What a library told, which had neither an address nor a key but the kernel's environment.

    Args:
        refusal: how the API that it speaks refuses a model that is not there.
    """
    kernel.run(Path(__file__).with_name(f"ask_{library}.py").read_text())
    told: dict[str, Any] = kernel.value("told")
    assert told["answer"].strip()
    assert told["model"].removeprefix("openai/") in MODELS
    assert told["finish"] in {"length", "stop"}
    assert told["tokens"] >= 1
    assert len(told["pieces"]) > 1
    assert "".join(told["pieces"]).strip()
    # The server's words, whatever the library's class of error is.
    assert refusal in told["error"]
    return told
