"""Libraries that speak OpenAI's API or Ollama's."""

from __future__ import annotations

import pytest

from tests.clients.libraries.asking import CITIES, ask, needs
from tests.guide.blocks import blocks


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
