"""How a model is to be held for a request: what Ollama's requests say of it, as fields of ours on ``/v1``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from .duration import parse_duration
from .lenient import Lenient
from .validation import fault


def _check_duration(value: float | str) -> float | str:
    try:
        parse_duration(value)
    except ValueError as error:
        raise fault("", f"{error}.") from None
    return value


class HeldModel(Lenient):
    """What every request has that makes a model work.

    Attributes:
        keep_alive: how long the model is to stay loaded afterwards.
        num_ctx: tokens that prompt and answer are to have together; more than the model has loads it anew.
    """

    keep_alive: Annotated[float | str, AfterValidator(_check_duration)] | None = None
    num_ctx: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    @property
    def keep_alive_seconds(self) -> float | None:
        """The seconds that `keep_alive` means, infinity for ever; None where the alias's own hold."""
        return None if self.keep_alive is None else parse_duration(self.keep_alive)
