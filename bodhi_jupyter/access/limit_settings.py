"""The trait `limits`, checked; and the single limits that it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Measure = Literal["requests_per_minute", "tokens_per_minute", "tokens_per_day", "streams"]
Scope = Literal["user", "alias"]
#: Stands for every alias that is not named.
ANY_ALIAS = "*"

_Amount = Annotated[int, Field(strict=True, gt=0)]


class Rates(BaseModel):
    """The limits of one person, or of one alias; what is not set is not limited."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: _Amount | None = None
    tokens_per_minute: _Amount | None = None
    tokens_per_day: _Amount | None = None
    streams: _Amount | None = None


class LimitSettings(BaseModel):
    """How much is allowed.

    Attributes:
        user: for each person, over all aliases.
        alias: for each alias, over all persons; `ANY_ALIAS` is for each of those that are not named.
    """

    model_config = ConfigDict(extra="forbid")

    user: Rates = Rates()
    alias: dict[str, Rates] = {}

    def limits_of(self, person: str, alias: str) -> Iterator[Limit]:
        """What limits a request of `person` for `alias`."""
        yield from _limits("user", person, self.user)
        of_alias = self.alias.get(alias, self.alias.get(ANY_ALIAS))
        if of_alias is not None:
            yield from _limits("alias", alias, of_alias)


class Limit(NamedTuple):
    """One limit, for one person or one alias.

    Attributes:
        name: the person's or the alias's.
        amount: how much of the measure is allowed.
    """

    measure: Measure
    scope: Scope
    name: str
    amount: int

    @property
    def seconds(self) -> int:
        """How long a window lasts."""
        return 86400 if self.measure == "tokens_per_day" else 60

    @property
    def words(self) -> str:
        """Which limit it is, as in "tokens per day for each user"; no person is named."""
        what = "requests at once" if self.measure == "streams" else self.measure.replace("_", " ")
        return f"{what} for {'each user' if self.scope == 'user' else f'the model {self.name!r}'}"


def parse_limits(value: object) -> LimitSettings:
    """The settings in `value`.

    Raises:
        ValueError: a field is unknown, or no whole number above 0; the message names it.
    """
    try:
        return LimitSettings.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, ('limits', *first['loc'])))}: {first['msg']}.") from None


def _limits(scope: Scope, name: str, rates: Rates) -> Iterator[Limit]:
    for measure in get_args(Measure):
        amount = getattr(rates, measure)
        if amount is not None:
            yield Limit(measure, scope, name, amount)
