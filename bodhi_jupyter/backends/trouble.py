"""Which local models failed lately: a loop of failures is slowed down, and says why."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..catalog.alias import LocalTarget
from ..wire.errors import GatewayError, again

#: A failure is answered by an immediate new attempt once; from the second in a row the pause doubles up to this.
MAX_PAUSE_SECONDS = 60.0
#: An engine that lived this long is not part of a loop of failures.
HEALTHY_SECONDS = 60.0


@dataclass
class _Trouble:
    """How often in a row a target's engine failed, and when the next attempt is due."""

    target: LocalTarget
    error: GatewayError
    count: int = 0
    retry_at: float = 0.0


class Troubles:
    """The failures of each alias since it last served well. A changed alias starts afresh."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Trouble] = {}

    def note(self, name: str, target: LocalTarget, error: GatewayError) -> None:
        """Count a failure."""
        trouble = self._by_name.get(name)
        if trouble is None or trouble.target != target:
            trouble = self._by_name[name] = _Trouble(target, error)
        trouble.error = error
        trouble.count += 1
        pause = 0.0 if trouble.count == 1 else min(2.0 ** (trouble.count - 2), MAX_PAUSE_SECONDS)
        trouble.retry_at = time.monotonic() + pause

    def forget(self, name: str) -> None:
        """It served well, or is gone."""
        self._by_name.pop(name, None)

    def refusal(self, name: str, target: LocalTarget) -> GatewayError | None:
        """The last failure, while the next attempt is not due yet."""
        trouble = self._by_name.get(name)
        if trouble is None or trouble.target != target or trouble.retry_at <= time.monotonic():
            return None
        refusal = again(trouble.error)
        refusal.retry_after = trouble.retry_at - time.monotonic()
        return refusal

    def reasons(self) -> Mapping[str, str]:
        """Why each alias failed last, by name."""
        return {name: trouble.error.message for name, trouble in self._by_name.items()}
