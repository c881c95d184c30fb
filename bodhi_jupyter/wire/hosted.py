"""Parameters that mean something only at a hosted service, by dialect: accepted, and not forwarded.

They are about storage, billing, caching, moderation, hosted tools and the like. llama.cpp would ignore them
(measured); other servers may refuse what they do not know, and what a caller says of its users is not theirs to read.
"""

from __future__ import annotations

#: In OpenAI's chats, completions and embeddings, whatever their value (OpenAI spec 2.3.0).
OPENAI_HOSTED = frozenset(
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

#: In OpenAI's ``/v1/responses``; `background` where it is false, else it is refused. `truncation` too: nothing is ever
#: cut off silently, a prompt that is too long is an error.
RESPONSES_HOSTED = frozenset(
    {
        "access_programs",
        "background",
        "background_options",
        "context_management",
        "image",
        "include",
        "max_tool_calls",
        "metadata",
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "stream_options",
        "truncation",
        "user",
    }
)

#: In Anthropic's ``/v1/messages``; also how hard a hosted model tries. llama.cpp caches prompts by itself.
ANTHROPIC_HOSTED = frozenset(
    {
        "betas",
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "user_profile_id",
        "workspace_id",
    }
)
