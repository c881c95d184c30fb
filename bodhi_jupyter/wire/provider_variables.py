"""The environment variables that lead the clients of providers to a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .scoped_key import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Provider:
    """A provider of models, by the variables that its client reads: they are set all together or not at all.

    Attributes:
        name: for a person to read.
        url_variable: where its client reads the address.
        url_path: what that address has after the server's base URL.
        key_variable: where its client reads the key we give.
        credentials: further variables whose value its client would send us.
        headers_variable: where its client reads extra headers, an ``Authorization`` among them; or "".
        signs: variables that say that the user has set this provider up for themselves.
    """

    name: str
    url_variable: str
    url_path: str
    key_variable: str
    credentials: tuple[str, ...] = ()
    headers_variable: str = ""
    signs: tuple[str, ...] = ()

    def set_by_user(self, env: Mapping[str, str], *base_urls: str) -> tuple[str, ...]:
        """List the variables of this provider that `env` has; an empty value counts as unset.

        What `jupyter bodhi env` exported in the terminal that the server was started from is ours, not the user's: a
        scoped key, with an address of this machine or of a server at one of `base_urls`. With another one the user
        has set it, for a server elsewhere.
        """
        if env.get(self.key_variable, "").startswith(PREFIX) and self._leads_here(env, base_urls):
            return ()
        return tuple(name for name in self.names if env.get(name, "").strip())

    @property
    def names(self) -> tuple[str, ...]:
        """All variables of this provider that mean something to its client."""
        headers = (self.headers_variable,) if self.headers_variable else ()
        return (self.url_variable, self.key_variable, *self.credentials, *headers, *self.signs)

    def _leads_here(self, env: Mapping[str, str], base_urls: tuple[str, ...]) -> bool:
        """Whatever the port: the server may have got another one since."""
        url = env.get(self.url_variable, "").strip()
        if not url:
            return True
        place = _place(url)
        if place is None:
            return False
        return place[0] in _LOOPBACK or place in [_place(base_url + self.url_path) for base_url in base_urls]

    def variables(self, base_url: str, key: str) -> dict[str, str]:
        """Lead this provider's client to us: its address and its key."""
        return {self.url_variable: base_url + self.url_path, self.key_variable: key}

    def overrides(self, env: Mapping[str, str], key: str) -> dict[str, str]:
        """Keep the user's own credentials, where `env` has any, from being sent to us."""
        replaced = {name: key for name in self.credentials if name in env}
        if self.headers_variable in env:
            replaced[self.headers_variable] = ""
        return replaced


def _place(url: str) -> tuple[str | None, str] | None:
    """Host and path of an address, which may have no scheme, as Ollama's clients take it; None if it is none."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return None
    return parts.hostname, parts.path.rstrip("/")


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

#: Read in openai 3.54, ollama 0.6.3 and anthropic 2.12, whose clients append ``/models``, ``/api/tags`` and
#: ``/v1/messages`` to their address.
PROVIDERS = (
    Provider(
        "OpenAI",
        "OPENAI_BASE_URL",
        "/v1",
        "OPENAI_API_KEY",
        credentials=("OPENAI_ADMIN_KEY",),
        headers_variable="OPENAI_CUSTOM_HEADERS",
        # The SDK's module-level client refuses to work where Azure's key and OpenAI's are both set.
        signs=(
            "OPENAI_ORG_ID",
            "OPENAI_ORGANIZATION",
            "OPENAI_PROJECT_ID",
            "OPENAI_API_BASE",
            "OPENAI_API_TYPE",
            "AZURE_OPENAI_API_KEY",
            "AZURE_OPENAI_AD_TOKEN",
            "AZURE_OPENAI_ENDPOINT",
        ),
    ),
    Provider("Ollama", "OLLAMA_HOST", "", "OLLAMA_API_KEY"),
    Provider(
        "Anthropic",
        "ANTHROPIC_BASE_URL",
        "",
        "ANTHROPIC_AUTH_TOKEN",
        # The SDK prefers it to ANTHROPIC_AUTH_TOKEN where both are set.
        credentials=("ANTHROPIC_API_KEY",),
        headers_variable="ANTHROPIC_CUSTOM_HEADERS",
        signs=(
            "ANTHROPIC_PROFILE",
            "ANTHROPIC_IDENTITY_TOKEN",
            "ANTHROPIC_IDENTITY_TOKEN_FILE",
            "CLAUDE_CODE_OAUTH_TOKEN",
        ),
    ),
)
