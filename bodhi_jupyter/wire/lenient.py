"""The base of every request's model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Lenient(BaseModel):
    """Strict about the types of the fields it knows, silent about those it does not.

    The models check a request and are then thrown away: what is forwarded is what the caller sent.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)
