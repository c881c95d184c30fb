"""Libraries by their headers, as they really send them."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest

from bodhi_jupyter.wire.client import UNKNOWN, client_of


@pytest.mark.parametrize(
    ("agent", "name", "version"),
    [
        ("OpenAI/Python 2.8.1", "openai-python", "2.8.1"),
        ("OpenAI/JS 6.9.0", "openai-js", "6.9.0"),
        ("ollama-python/0.6.1 (x86_64 linux) Python/3.12.3", "ollama-python", "0.6.1"),
        ("ollama-js/0.6.3 (x64 linux) Node.js/v22.11.0", "ollama-js", "0.6.3"),
        ("ollama/0.13.0 (amd64 linux) Go/go1.24.1", "ollama", "0.13.0"),
        ("litellm/1.80.0", "litellm", "1.80.0"),
        ("bodhi-jupyter", "bodhi-jupyter", None),
        ("python-httpx/0.28.1", "httpx", "0.28.1"),
        ("python-requests/2.32.5", "requests", "2.32.5"),
        ("Python-urllib/3.12", "urllib", "3.12"),
        ("Python/3.12 aiohttp/3.13.2", "aiohttp", "3.13.2"),
        ("Go-http-client/1.1", "go", "1.1"),
        ("node", "node", None),
        ("curl/8.14.1", "curl", "8.14.1"),
        ("Prometheus/3.5.0", "prometheus", "3.5.0"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "browser", "5.0"),
        ("", UNKNOWN, None),
        ("something of my own", UNKNOWN, None),
    ],
)
def test_the_user_agent_names_the_library(agent: str, name: str, version: str | None) -> None:
    headers = httpx.Headers({"User-Agent": agent})
    assert client_of(headers) == (name, version)


@pytest.mark.parametrize(
    ("sdk", "name"),
    [
        (openai.OpenAI(api_key="x"), "openai-python"),
        (openai.AsyncOpenAI(api_key="x"), "openai-python"),
        (anthropic.Anthropic(api_key="x"), "anthropic-python"),
        (anthropic.AsyncAnthropic(api_key="x"), "anthropic-python"),
    ],
)
def test_the_sdks_are_known_by_what_they_send(sdk, name: str) -> None:
    headers = httpx.Headers(
        {name: value for name, value in sdk.default_headers.items() if isinstance(value, (str, bytes))}
    )
    assert client_of(headers) == (name, sdk._version)


def test_stainless_headers_tell_when_the_user_agent_is_somebody_elses() -> None:
    told = {"User-Agent": "my app", "x-stainless-lang": "js", "x-stainless-package-version": "6.9.0"}
    assert client_of(httpx.Headers(told)) == ("openai-js", "6.9.0")
    assert client_of(httpx.Headers({**told, "anthropic-version": "2023-06-01"})) == ("anthropic-js", "6.9.0")


@pytest.mark.parametrize("number", range(50))
def test_whatever_is_sent_the_name_is_one_of_a_fixed_set(number: int) -> None:
    headers = {"User-Agent": f"tool-{number}/1", "x-stainless-lang": f"lang-{number}"}
    assert client_of(httpx.Headers(headers)) == (UNKNOWN, None)
    version = {"User-Agent": "curl/<script>" + "9" * 500, "x-stainless-package-version": "'; DROP TABLE"}
    assert client_of(httpx.Headers(version)) == ("curl", None)
