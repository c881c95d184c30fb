"""Contexts that callers request larger than their aliases have them (Ollama's ``num_ctx``).

The policy: a larger one loads the model anew, and is then everybody's, in every dialect, until the model is unloaded;
a smaller one changes nothing. Two callers with different requests would else load the model by turns. The pool keeps to
it where it grants leases: an engine serves all who request no more than it has.
"""

from __future__ import annotations

from dataclasses import replace

from ..catalog.alias import Alias, LocalTarget
from .launch import Settings


def with_requested_context(alias: Alias, tokens: int, trained: int | None) -> Alias:
    """The alias with the request for a context of `tokens` for each request, if that is more than its own.

    Args:
        alias: one with a local target.
        tokens: what a request and its answer are to have together.
        trained: what the model was trained with, which is the most it is given; None where that is not known.
    """
    target = alias.target
    assert isinstance(target, LocalTarget)
    most = tokens if trained is None else min(tokens, trained)
    own = Settings.of(target.context).context_per_request(trained)
    # As the engine will round it: 1000 and 1010 tokens are the same request.
    given = Settings.of(enlarged(target, most).context).context_per_request(trained)
    return replace(alias, requested_context=given) if given > own else alias


def enlarged(target: LocalTarget, tokens: int) -> LocalTarget:
    """The target with a context of `tokens` for each request; as it is where that is 0."""
    if not tokens:
        return target
    slots = Settings.of(target.context).n_parallel
    return replace(target, context=target.context.model_copy(update={"n_ctx": tokens * slots}))
