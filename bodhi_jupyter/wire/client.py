"""Which library a caller uses, as its headers tell: a family out of a fixed set, and a version of digits and dots."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Where the headers name nothing that is known.
UNKNOWN = "unknown"

# How the libraries' own ``User-Agent`` begins (their sources); a more special one comes first.
_AGENTS = {
    "openai-python": r"(?:Async)?(?:Azure)?OpenAI/Python",
    "openai-js": r"(?:Azure)?OpenAI/JS",
    "anthropic-python": r"(?:Async)?Anthropic(?:Bedrock|Vertex)?/Python",
    "anthropic-js": r"Anthropic/JS",
    "ollama-python": r"ollama-python",
    "ollama-js": r"ollama-js",
    "ollama": r"ollama",
    "langchain": r"langchain[\w-]*",
    "litellm": r"litellm",
    "bodhi-jupyter": r"bodhi-jupyter",
    "httpx": r"python-httpx",
    "requests": r"python-requests",
    "urllib": r"Python-urllib",
    "aiohttp": r"(?:Python/[\d.]+ )?aiohttp",
    "go": r"Go-http-client",
    "node": r"(?:node|undici|axios)",
    "curl": r"curl",
    "prometheus": r"Prometheus",
    "browser": r"Mozilla",
}
_AGENT = re.compile(
    "|".join(f"(?P<_{index}>{pattern})" for index, pattern in enumerate(_AGENTS.values())), re.IGNORECASE
)
_NAMES = tuple(_AGENTS)
_VERSION = re.compile(r"/v?(\d{1,5}(?:\.\d{1,5}){0,3})")
#: Stainless generates both companies' SDKs, which say their language and version whatever the ``User-Agent`` is.
_LANGUAGES = {
    "python": "python",
    "js": "js",
    "node": "js",
    "go": "go",
    "java": "java",
    "kotlin": "java",
    "ruby": "ruby",
}

#: Every family that there is.
FAMILIES = frozenset(
    {*_NAMES, UNKNOWN, *(f"{sdk}-{name}" for sdk in ("openai", "anthropic") for name in _LANGUAGES.values())}
)


def client_of(headers: Mapping[str, str]) -> tuple[str, str | None]:
    """The library's family, one of `FAMILIES`, and its version or None."""
    agent = headers.get("User-Agent", "")
    language = _LANGUAGES.get(headers.get("x-stainless-lang", "").lower())
    found = _AGENT.match(agent)
    if found is None or found.lastgroup is None:
        return (_by_stainless(language, headers), _version_in(headers)) if language else (UNKNOWN, None)
    version = _VERSION.match(agent, found.end())
    return _NAMES[int(found.lastgroup[1:])], version.group(1) if version else None


def _by_stainless(language: str, headers: Mapping[str, str]) -> str:
    return f"{'anthropic' if 'anthropic-version' in headers else 'openai'}-{language}"


def _version_in(headers: Mapping[str, str]) -> str | None:
    version = _VERSION.match(f"/{headers.get('x-stainless-package-version', '')}")
    return version.group(1) if version else None
