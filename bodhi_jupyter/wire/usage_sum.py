"""The usage of several answers to one request: the tokens of all, and each prompt's once, as OpenAI counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def summed_by_choice(usages: Mapping[int | None, Mapping[str, Any]]) -> dict[str, Any]:
    """The usage of a chat, from what its stream told behind the end of each answer.

    llama.cpp tells of each answer apart (measured), other servers of all of them, once.

    Args:
        usages: one or more, by the choice that had finished last; None is for what was told before any had.
    """
    told = [usages[choice] for choice in sorted(choice for choice in usages if choice is not None)]
    if len(told) > 1:
        return summed(told, told[:1])
    return dict(told[0] if told else usages[None])


def summed(answers: Iterable[Mapping[str, Any]], prompts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The usage of all `answers`; `prompts` are those of them that count for their prompts."""
    completion = sum(count_in(one, "completion_tokens") for one in answers)
    prompt = sum(count_in(one, "prompt_tokens") for one in prompts)
    usage: dict[str, Any] = {
        "completion_tokens": completion,
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
    }
    details = [one["prompt_tokens_details"] for one in prompts if isinstance(one.get("prompt_tokens_details"), dict)]
    if details:
        usage["prompt_tokens_details"] = {"cached_tokens": sum(count_in(one, "cached_tokens") for one in details)}
    return usage


def count_in(counts: Mapping[str, Any], name: str) -> int:
    """A number of a server's that may have sent anything."""
    count = counts.get(name)
    return count if isinstance(count, int) else 0
