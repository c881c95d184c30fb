"""What a finished answer has to keep to: which functions it calls, with which arguments, and the format of its text.

The engine's grammars see to most of it. But a stop sequence ends an answer before its grammar would, and other servers
may know no grammars, or no tools: then there is no answer, and whoever asked is told. One that a limit cut is not
looked at, as its own reason says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import pydantic_core

from .errors import BackendFailed
from .schema_answers import require_fit

#: Finish reasons of chats that say themselves that the answer is not what was asked for.
CUT = frozenset({"length", "content_filter"})
#: Characters of a name that errors repeat: it is the model's text.
_SHOWN = 64


class Call(NamedTuple):
    """A call in an answer.

    Attributes:
        name: the function's; None where it has none.
        arguments: JSON text; empty or None for none at all, as some models write it.
    """

    name: str | None
    arguments: str | None


@dataclass(frozen=True)
class CallRule:
    """Which functions may be called.

    Attributes:
        schemas: what the arguments have to fit, by the functions' names; None where any JSON object will do.
        is_due: whether one of them has to be called.
        field: of the request, where that is said.
        is_parallel: whether there may be several calls.
    """

    schemas: Mapping[str, Mapping[str, Any] | None]
    is_due: bool = False
    field: str = "tool_choice"
    is_parallel: bool = True

    def check(self, calls: Sequence[Call], whose: str) -> None:
        """Refuse calls that nobody allowed, and an answer without the one that is due.

        Raises:
            BackendFailed: ``unexpected_tool_call``, ``missing_tool_call``, ``invalid_tool_call`` for arguments that
                are no JSON object, or as `require_fit`.
        """
        if self.is_due and not calls:
            raise BackendFailed(
                f"{whose} has no tool call, which '{self.field}' requires.",
                code="missing_tool_call",
            )
        if len(calls) > 1 and not self.is_parallel:
            raise BackendFailed(
                f"{whose} has {len(calls)} tool calls, where 'parallel_tool_calls' allows one.",
                code="unexpected_tool_call",
            )
        for call in calls:
            self._check_one(call, whose)

    def _check_one(self, call: Call, whose: str) -> None:
        if call.name is None or call.name not in self.schemas:
            raise BackendFailed(
                f"{whose} calls {(call.name or '')[:_SHOWN]!r}, which is not among the functions that the request "
                "allows.",
                code="unexpected_tool_call",
            )
        text = (call.arguments or "").strip() or "{}"
        if not isinstance(_value(text), dict):
            raise BackendFailed(
                f"{whose} calls {call.name!r} with arguments that are not a JSON object.", code="invalid_tool_call"
            )
        if (schema := self.schemas[call.name]) is not None:
            place = "that function, which is 'strict'"
            require_fit(schema, text, whose=f"{whose}, which calls {call.name!r},", place=place)


@dataclass(frozen=True)
class TextRule:
    """The text is JSON.

    Attributes:
        place: in the request, where that is said, in words: ``'response_format'``.
        schema: what it has to fit; None where any JSON will do.
        is_object: whether it has to be an object where there is no schema.
    """

    place: str
    schema: Mapping[str, Any] | None = None
    is_object: bool = False

    def check(self, text: str, whose: str) -> None:
        """Refuse a text that is not of this format.

        Raises:
            BackendFailed: as `require_fit`, also where there is no schema.
        """
        if self.schema is not None:
            require_fit(self.schema, text, whose=whose, place=self.place)
            return
        value = _value(text)
        if value is _NOTHING or (self.is_object and not isinstance(value, dict)):
            wanted = "a JSON object" if self.is_object else "JSON"
            raise BackendFailed(f"{whose} is not {wanted}, as {self.place} requires.", code="schema_mismatch")


def own_schema_rule(schema: object) -> TextRule | None:
    """The rule of llama.cpp's `json_schema`, as of a schema that is not strict; none of what the engine passes over."""
    return TextRule("'json_schema'") if isinstance(schema, dict) else None


class AnswerRules(NamedTuple):
    """What one finished answer has to keep to; either part may be missing.

    Attributes:
        whose: the answer in words, which begin a message.
        calls: which functions it may call.
        text: the format of its text, where it calls none.
    """

    whose: str
    calls: CallRule | None
    text: TextRule | None

    def check(self, text: str | None, calls: Sequence[Call]) -> None:
        """Refuse an answer that does not keep to them.

        Args:
            text: all of it; None for a refusal, which is told as one and has no format.
            calls: all of them.

        Raises:
            BackendFailed: see `CallRule.check` and `TextRule.check`.
        """
        if self.calls is not None:
            self.calls.check(calls, self.whose)
        if self.text is not None and text is not None and not calls:
            self.text.check(text, self.whose)


def rules_of(whose: str, calls: CallRule | None, text: TextRule | None) -> AnswerRules | None:
    """The rules; None where there are none."""
    return None if calls is None and text is None else AnswerRules(whose, calls, text)


#: In place of a value where a text is no JSON: null is one.
_NOTHING = object()


def _value(text: str) -> object:
    """What the text says as JSON, or `_NOTHING`."""
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False, cache_strings="none")
    except ValueError:
        pass
    try:
        # It takes half of a surrogate pair, too, larger numbers, and what is nested more deeply.
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NOTHING


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
