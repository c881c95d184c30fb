"""OpenAI's parameters that mean something only at a hosted service."""

from __future__ import annotations

#: Accepted whatever their value, and not forwarded: they are about storage, billing, moderation and the like (OpenAI
#: spec 2.3.0). llama.cpp would ignore them (measured); other servers may refuse what they do not know, and what a
#: caller says of its users is not theirs to read.
HOSTED_ONLY = frozenset(
    {
        "audio",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
        "web_search_options",
    }
)
