"""Which local models failed lately: a loop of failures is slowed down, and says why."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..catalog.alias import LocalTarget
from ..wire.errors import GatewayError, again

#: A failure is answered by an immediate new attempt once; from the second in a row the pause doubles up to this.
MAX_PAUSE_SECONDS = 60.0
#: An engine that lived this long is not part of a loop of failures.
HEALTHY_SECONDS = 60.0


@dataclass
class _Failure:
    """How often in a row a target's engine failed, and when the next attempt is due."""

    target: LocalTarget
    error: GatewayError
    count: int = 0
    retry_at: float = 0.0


class EngineFailures:
    """The failures of each alias since it last served well. A changed alias starts afresh."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Failure] = {}

    def note(self, name: str, target: LocalTarget, error: GatewayError) -> None:
        """Count a failure."""
        failure = self._by_name.get(name)
        if failure is None or failure.target != target:
            failure = self._by_name[name] = _Failure(target, error)
        failure.error = error
        failure.count += 1
        pause = 0.0 if failure.count == 1 else min(2.0 ** (failure.count - 2), MAX_PAUSE_SECONDS)
        failure.retry_at = time.monotonic() + pause

    def forget(self, name: str) -> None:
        """It served well, or is gone."""
        self._by_name.pop(name, None)

    def forget_all_but(self, names: Collection[str]) -> None:
        """Only these are still there."""
        for name in self._by_name.keys() - names:
            del self._by_name[name]

    def refusal(self, name: str, target: LocalTarget) -> GatewayError | None:
        """The last failure, while the next attempt is not due yet."""
        failure = self._by_name.get(name)
        if failure is None or failure.target != target or failure.retry_at <= time.monotonic():
            return None
        refusal = again(failure.error)
        refusal.retry_after = failure.retry_at - time.monotonic()
        return refusal

    def reasons(self) -> Mapping[str, str]:
        """Why each alias failed last, by name."""
        return {name: failure.error.message for name, failure in self._by_name.items()}
