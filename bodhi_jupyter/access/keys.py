"""Scoped keys: they open our routes and nothing else.

Those of kernels and terminals live in memory and end with what they were minted for: a restarted server has new
kernels, and with them new keys. Those of tools outside notebooks are kept in a file, until somebody revokes them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from .key_format import digest, new_key
from .watched_keys import WatchedKeys

#: Shorter keys are placeholders (``sk-no-key-required`` of llama.cpp's README), nobody's secret.
_SHORTEST_REAL_KEY = 20


@dataclass(frozen=True)
class KeyHolder:
    """Whom a scoped key was minted for.

    Attributes:
        holder: ``kernel:<kernel id>``, ``terminal:<name>`` or ``key:<name>``; shown as the user of a request.
    """

    holder: str

    @property
    def kernel(self) -> str | None:
        """The kernel's id, where it is a kernel's key."""
        kind, _, name = self.holder.partition(":")
        return name if kind == "kernel" else None


class KeyRing:
    """The scoped keys that are valid now. Only their digests are kept: the keys cannot be read back.

    Args:
        long_lived: the keys that outlive the server; None for a ring without any.
    """

    def __init__(self, long_lived: WatchedKeys | None = None) -> None:
        self._holders: dict[bytes, KeyHolder] = {}
        self._long_lived = long_lived

    def mint(self, holder: str) -> str:
        """Make a new key for `holder`: ``bodhi-`` and 43 URL-safe characters (256 random bits)."""
        key = new_key()
        self._holders[digest(key)] = KeyHolder(holder)
        return key

    def verify(self, key: str) -> KeyHolder | None:
        """Tell whom the key was minted for, or None for one that was never minted or has been revoked."""
        # How long the lookup takes depends on the digest alone, and a digest cannot be steered by guessing keys.
        return self._holders.get(digest(key))

    async def verify_long_lived(self, key: str) -> KeyHolder | None:
        """The same of the keys that outlive the server; a thread looks at their file."""
        name = await asyncio.to_thread(self._long_lived.name_of, digest(key)) if self._long_lived else None
        return KeyHolder(f"key:{name}") if name else None

    def revoke(self, key: str) -> None:
        """Make the key open nothing from now on; revoking twice, or an unknown key, is harmless."""
        self._holders.pop(digest(key), None)


@dataclass(frozen=True)
class ForeignKey:
    """A shape of key that another provider hands out.

    Attributes:
        provider: whose it is, for a person to read.
        prefixes: what its keys start with.
        variables: the environment variables that may have brought it here.
        base_url_variable: what the provider's own clients read an address from.
    """

    provider: str
    prefixes: tuple[str, ...]
    variables: tuple[str, ...] = ("OPENAI_API_KEY",)
    base_url_variable: str = "OPENAI_BASE_URL"

    def advice(self) -> str:
        """Say what a 401 tells somebody who sent such a key; never the key itself."""
        return (
            f"This looks like a key for {self.provider}, which opens nothing here. To be answered by this server, "
            f"unset {' and '.join(self.variables)} (and leave out api_key) and restart the kernel, or pass a Jupyter "
            f"token as the key; to reach {self.provider}, pass its base_url or unset {self.base_url_variable}."
        )


#: The more special shape comes first (``sk-ant-`` before ``sk-``). Sources: the providers' documentation of
#: their keys, and the rules of public secret scanners. Most are used through OpenAI's client.
FOREIGN_KEYS = (
    ForeignKey("Anthropic", ("sk-ant-",), ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"), "ANTHROPIC_BASE_URL"),
    ForeignKey("OpenRouter", ("sk-or-",)),
    ForeignKey("OpenAI", ("sk-", "sess-")),
    ForeignKey("Groq", ("gsk_",)),
    ForeignKey("Hugging Face", ("hf_",)),
    ForeignKey("Google", ("AIza",)),
    ForeignKey("xAI", ("xai-",)),
    ForeignKey("Perplexity", ("pplx-",)),
    ForeignKey("NVIDIA", ("nvapi-",)),
    ForeignKey("Cerebras", ("csk-",)),
    ForeignKey("Replicate", ("r8_",)),
    ForeignKey("GitHub", ("ghp_", "gho_", "github_pat_")),
)


def looks_foreign(key: str) -> ForeignKey | None:
    """Tell which other provider the key looks like, or None when its shape tells nothing."""
    if len(key) < _SHORTEST_REAL_KEY:
        return None
    return next((foreign for foreign in FOREIGN_KEYS if key.startswith(foreign.prefixes)), None)
