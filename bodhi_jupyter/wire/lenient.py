"""The base of every request's model, and its lists."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
#: A list that is read up to its first wrong item. Pydantic tells of all others, and a body of a megabyte that is a list
#: of wrong items took seconds.
Items = Annotated[list[T], Field(fail_fast=True)]


class Lenient(BaseModel):
    """Strict about the types of the fields it knows, silent about those it does not.

    The models check a request and are then thrown away: what is forwarded is what the caller sent.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, defer_build=True)
