"""Which library a caller uses, as its headers tell: a name out of a fixed set, and a version of digits and dots."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

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
_VERSION = re.compile(r"[/ ]v?(\d{1,5}(?:\.\d{1,5}){0,3})")
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

_TOLD = ("User-Agent", "x-stainless-lang", "x-stainless-package-version")
#: Characters of a header that are looked at.
_LOOKED_AT = 200


def client_of(headers: Mapping[str, str]) -> tuple[str, str | None]:
    """The library's name, or `UNKNOWN`, and its version or None."""
    sdk = "anthropic" if "anthropic-version" in headers else "openai"
    # Looked for first: Tornado's headers raise and catch an error for a `get` of what is missing.
    return _client(sdk, *[headers[name][:_LOOKED_AT] if name in headers else "" for name in _TOLD])


@lru_cache(maxsize=256)
def _client(sdk: str, agent: str, language: str, package: str) -> tuple[str, str | None]:
    found = _AGENT.match(agent)
    version = _VERSION.match(agent, found.end()) if found else None
    known = version or _VERSION.match(f"/{package}")
    if found is not None and found.lastgroup is not None:
        return _NAMES[int(found.lastgroup[1:])], known[1] if known else None
    name = _LANGUAGES.get(language.lower())
    return (f"{sdk}-{name}", known[1] if known else None) if name else (UNKNOWN, None)
