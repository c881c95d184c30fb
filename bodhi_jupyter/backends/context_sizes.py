"""Contexts that callers wish larger than their aliases have them (Ollama's ``num_ctx``).

The policy: a larger one loads the model anew, and is then everybody's, in every dialect, until the model is unloaded;
a smaller one changes nothing. Two callers with different wishes would else load the model by turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..catalog.alias import Alias, LocalTarget
from .launch import Settings


class ContextSizes:
    """The wishes that hold now.

    Args:
        is_resident: whether an engine for the alias of this name is there, or waited for.
    """

    def __init__(self, is_resident: Callable[[str], bool]) -> None:
        self._is_resident = is_resident
        self._wished: dict[str, int] = {}

    def wish(self, alias: Alias, tokens: int, trained: int | None) -> Alias:
        """The alias with a context of `tokens` for each request, if that is more than it has.

        Args:
            alias: one with a local target.
            tokens: what a request and its answer are to have together.
            trained: what the model was trained with, which is the most it is given; None where that is not known.
        """
        if not isinstance(alias.target, LocalTarget):
            return alias
        most = tokens if trained is None else min(tokens, trained)
        current = Settings.of(alias.target.context).context_per_request(trained)
        if current is not None and most <= current:
            return alias
        self._wished[alias.name] = most
        return _with_context(alias, most)

    def applied(self, alias: Alias) -> Alias:
        """The alias as it is held now."""
        wished = self._wished.get(alias.name)
        if wished is None:
            return alias
        if not self._is_resident(alias.name):
            del self._wished[alias.name]
            return alias
        return _with_context(alias, wished)


def _with_context(alias: Alias, tokens: int) -> Alias:
    target = alias.target
    assert isinstance(target, LocalTarget)
    slots = target.context.n_parallel or 1
    context = target.context.model_copy(update={"n_ctx": tokens * slots})
    return replace(alias, target=replace(target, context=context))
