"""Libraries that speak OpenAI's API or Ollama's, each in a kernel with what every kernel is given, and the engine.

They have an environment of their own (``.ci/clients``); where one is not installed its test is skipped, unless
``BODHI_CLIENT_TESTS`` is set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.guide.blocks import blocks
from tests.live.kernel import Kernel
from tests.live.server import LiveServer

CITIES = {"Oslo", "Rome"}


def needs(module: str) -> pytest.MarkDecorator:
    missing = not os.environ.get("BODHI_CLIENT_TESTS") and not _is_installed(module)
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package around it
        return False


@pytest.fixture
def kernel(stocked_server: LiveServer) -> Iterator[Kernel]:
    with Kernel(stocked_server) as running:
        yield running


def ask(kernel: Kernel, library: str, refusal: str = "The model 'nobody-has-this' does not exist") -> dict[str, Any]:
    """What a library told, which had neither an address nor a key but the kernel's environment.

    Args:
        refusal: how the API that it speaks refuses a model that is not there.
    """
    kernel.run(Path(__file__).with_name(f"ask_{library}.py").read_text())
    told: dict[str, Any] = kernel.value("told")
    assert told["answer"].strip()
    assert told["model"].removeprefix("openai/") in {"tiny-random", "default"}
    assert told["finish"] in {"length", "stop"}
    assert told["tokens"] >= 1
    assert len(told["pieces"]) > 1
    assert "".join(told["pieces"]).strip()
    # The server's words, whatever the library's class of error is.
    assert refusal in told["error"]
    return told


@needs("langchain_openai")
def test_langchain(kernel) -> None:
    told = ask(kernel, "langchain")
    assert told["error"].partition(":")[0].endswith("NotFoundError")
    assert 1 <= told["streamed_tokens"] <= 8
    assert told["structured"] in CITIES
    name, city = told["called"]
    assert (name, city in CITIES) == ("weather", True)
    assert told["after"].strip()
    assert told["dimensions"] == [64, 64]


@needs("langchain_openai")
@pytest.mark.parametrize(
    "block", [one for one in blocks("python") if "langchain" in one.code], ids=lambda one: one.where
)
def test_what_the_guide_says_of_langchain(kernel, block) -> None:
    assert kernel.run(block.code).strip()


@needs("llama_index.llms.openai_like")
def test_llama_index(kernel) -> None:
    told = ask(kernel, "llama_index")
    assert told["error"].partition(":")[0].endswith("NotFoundError")
    assert told["completed"].strip()


@needs("instructor")
def test_instructor(kernel) -> None:
    told = ask(kernel, "instructor")
    assert told["structured"] in CITIES
    assert told["called"] in CITIES
    assert any(city in told["pieces"][-1] for city in CITIES)


@needs("litellm")
def test_litellm(kernel) -> None:
    told = ask(kernel, "litellm")
    assert told["error"].partition(":")[0].endswith("NotFoundError")
    assert 1 <= told["streamed_tokens"] <= 8
    assert told["dimensions"] == [64, 64]


@needs("langchain_ollama")
def test_langchain_ollama(kernel) -> None:
    told = ask(kernel, "langchain_ollama", "model 'nobody-has-this' not found")
    assert 1 <= told["streamed_tokens"] <= 8
    assert told["structured"] in CITIES
    name, city = told["called"]
    assert (name, city in CITIES) == ("weather", True)
    assert told["after"].strip()
    assert told["dimensions"] == [64, 64]


@needs("llama_index.llms.ollama")
def test_llama_index_ollama(kernel) -> None:
    told = ask(kernel, "llama_index_ollama", "model 'nobody-has-this' not found")
    assert told["completed"].strip()
