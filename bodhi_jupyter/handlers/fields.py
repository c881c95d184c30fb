"""The names that requests' fields have, of every route."""

from __future__ import annotations

from functools import cache


@cache
def known_fields() -> frozenset[str]:
    """Fields of bodies, by the models of the API's own description, which is loaded when first asked for."""
    from .operations import OPERATIONS

    return frozenset(
        name
        for operation in OPERATIONS
        if operation.request is not None
        for field_name, field in operation.request.model_fields.items()
        for name in (field_name, field.alias)
        if name is not None
    )
