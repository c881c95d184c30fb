"""Names of models as callers write them: whatever a server calls its model may be asked for, within bounds."""

from __future__ import annotations

import re

from .errors import InvalidField

#: Room for a path (servers call models by the files they run), and little enough for a log line.
MAX_NAME_LENGTH = 512
#: Control characters, and halves of surrogate pairs, which no log takes.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class InvalidModelName(InvalidField):
    """No model is called so; the name is not repeated."""


def check_model_name(name: str) -> str:
    """`name` itself, when a model may be called so.

    Raises:
        InvalidModelName: it is too long or has control characters.
    """
    if len(name) > MAX_NAME_LENGTH or _UNPRINTABLE.search(name):
        raise InvalidModelName(
            f"Invalid 'model': a model's name has at most {MAX_NAME_LENGTH} characters, and no control characters.",
            param="model",
        )
    return name
