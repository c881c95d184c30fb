"""From a raw body to a checked request, or to an error that names the field as OpenAI does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from .errors import InvalidField, MalformedBody, shown_path, shown_value

Request = TypeVar("Request", bound=BaseModel)
#: Where a field is in a document: keys, and indices in lists.
Location = tuple[str | int, ...]

_FAULT = "fault"

_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}

_EXPECTED = {
    "string_type": "a string",
    "bool_type": "a boolean",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        MalformedBody: it is empty, is not JSON, or is another JSON value.
    """
    if not body.strip():
        raise MalformedBody("The request body is empty; a JSON object is expected.")
    try:
        data = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        # pydantic-core's text says what and where ("expected value at line 1 column 10"), never more.
        raise MalformedBody(f"The request body is not valid JSON: {error}.") from None
    if not isinstance(data, dict):
        raise MalformedBody(f"The request body must be a JSON object, not {_kind(data)}.")
    return data


def fault(field: str, says: str, *, code: str = "invalid_value") -> PydanticCustomError:
    """What a model's own check raises.

    Args:
        field: within the model that checks, ``""`` for what is checked itself.
        says: what is wrong and what would be right, as a sentence.
        code: OpenAI's, or one that is as stable.
    """
    return PydanticCustomError(_FAULT, "{says}", {"field": field, "says": says, "code": code})


def parse_request(model: type[Request], body: bytes, *, context: Mapping[str, Any] | None = None) -> Request:
    """The body, checked.

    Args:
        model: what it has to be.
        body: JSON, as it came.
        context: what the model's own checks may need to know (`pydantic.ValidationInfo.context`).

    Raises:
        MalformedBody: it is not a JSON object.
        InvalidField: a field is missing, mistyped or out of range; `param` names it.
    """
    try:
        return model.model_validate_json(body, context=context)
    except ValidationError as error:
        # Only a bad request pays for the second parse, which finds the words.
        raise _describe(error, parse_object(body)) from None


def _describe(error: ValidationError, data: dict[str, Any]) -> InvalidField:
    """One error for the caller out of pydantic's list, which holds one entry per branch of a union."""
    found = [(_path(entry["loc"], data, missing=entry["type"] == "missing"), entry) for entry in error.errors()]
    # The deepest one belongs to the branch that fits best.
    deepest = max(len(path) for path, _ in found)
    path = next(path for path, _ in found if len(path) == deepest)
    value = _value_at(path, data)
    entries = [entry for other_path, entry in found if other_path == path]
    # A branch that took the value's type and refused the value says more than one that refused the type.
    fitting = [entry for entry in entries if not _refuses_type(entry, value)]
    return _invalid(render_path(path), value, fitting or entries)


def _refuses_type(entry: Mapping[str, Any], value: Any) -> bool:
    if entry["type"] != "literal_error":
        return entry["type"] in _EXPECTED
    return not isinstance(value, str) or "'" not in entry["ctx"]["expected"]


def _invalid(param: str, value: Any, entries: Sequence[Mapping[str, Any]]) -> InvalidField:
    entry = entries[0]
    kind: str = entry["type"]
    limits: Mapping[str, Any] = entry.get("ctx", {})
    if kind == _FAULT:
        param = shown_path(f"{param}.{limits['field']}".strip("."))
        return InvalidField(f"Invalid '{param}': {limits['says']}", param=param, code=limits["code"])
    if kind in {"missing", "union_tag_not_found"}:
        name = param if kind == "missing" else f"{param}.{_discriminator(limits)}"
        return InvalidField(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    if kind == "union_tag_invalid":
        name = f"{param}.{_discriminator(limits)}"
        return InvalidField(
            f"Invalid value for '{name}': '{shown_value(limits['tag'])}'. "
            f"Supported values are: {limits['expected_tags']}.",
            param=name,
            code="invalid_value",
        )
    if _refuses_type(entry, value):
        kinds = list(dict.fromkeys(_expected(other) for other in entries))
        return InvalidField(
            f"Invalid type for '{param}': expected {' or '.join(kinds)}, but got {_kind(value)} instead.",
            param=param,
            code="invalid_type",
        )
    if kind == "literal_error":
        return InvalidField(
            f"Invalid value for '{param}': '{shown_value(value)}'. "
            f"Supported values are: {limits['expected'].replace(' or ', ', ')}.",
            param=param,
            code="invalid_value",
        )
    # What broke the limit: for a key of an object that is the key, and not its value.
    message, code = _out_of_range(kind, limits, entry["input"])
    return InvalidField(f"Invalid '{param}': {message}", param=param, code=code)


def _out_of_range(kind: str, limits: Mapping[str, Any], value: Any) -> tuple[str, str]:
    """The words and the code for a value of the right type that breaks a limit."""
    # By the field, as OpenAI does: a temperature of 3 is a decimal too large. Fields of numbers have such limits.
    number = "decimal" if any(isinstance(limit, float) for limit in limits.values()) else "integer"
    match kind:
        case "greater_than_equal":
            return (
                f"{number} below minimum value. Expected a value >= {limits['ge']:g}, but got {value} instead.",
                f"{number}_below_min_value",
            )
        case "less_than_equal":
            return (
                f"{number} above maximum value. Expected a value <= {limits['le']:g}, but got {value} instead.",
                f"{number}_above_max_value",
            )
        case "less_than":
            return (
                f"{number} above maximum value. Expected a value < {limits['lt']}, but got {value} instead.",
                f"{number}_above_max_value",
            )
        case "too_short":
            return (
                f"empty array. Expected an array with minimum length {limits['min_length']}, "
                f"but got length {limits['actual_length']} instead.",
                "empty_array" if not limits["actual_length"] else "array_below_min_length",
            )
        case "too_long":
            return (
                f"array too long. Expected an array with maximum length {limits['max_length']}, "
                f"but got length {len(value)} instead.",
                "array_above_max_length",
            )
        case "string_too_short":
            return (f"empty string. Expected at least {limits['min_length']} character.", "empty_string")
        case "string_too_long":
            return (
                f"string too long. Expected a string with maximum length {limits['max_length']}, "
                f"but got length {len(value)} instead.",
                "string_above_max_length",
            )
        case "string_pattern_mismatch":
            return (
                f"string does not match pattern. Expected a string that matches '{limits['pattern']}'.",
                "invalid_value",
            )
        case "finite_number":
            return ("expected a finite number.", "invalid_value")
    return ("the value is not allowed here.", "invalid_value")


def _path(location: Location, data: Any, *, missing: bool) -> Location:
    """The steps of `location` that exist in the data: pydantic puts the names of union branches between them."""
    steps: list[str | int] = []
    here = data
    for index, step in enumerate(location):
        fits_object = isinstance(here, dict) and isinstance(step, str) and step in here
        fits_array = isinstance(here, list) and isinstance(step, int) and step < len(here)
        if fits_object or fits_array:
            here = here[step]
            steps.append(step)
        elif missing and index == len(location) - 1:
            steps.append(step)
    return tuple(steps)


def render_path(path: Location) -> str:
    """``("messages", 0, "role")`` as ``messages[0].role``, cut where it is too long to be shown."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return shown_path(text)


def _value_at(path: Location, data: Any) -> Any:
    """What is there, None where the last step is what is missing."""
    for step in path:
        try:
            data = data[step]
        except LookupError:
            return None
    return data


def _expected(entry: Mapping[str, Any]) -> str:
    if entry["type"] == "literal_error":
        expected: str = entry["ctx"]["expected"]
        return f"one of {expected.replace(' or ', ', ')}" if "'" in expected else expected.lower()
    return _EXPECTED.get(entry["type"], "another type")


def _discriminator(limits: Mapping[str, Any]) -> str:
    return str(limits["discriminator"]).strip("'")


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "another value")
