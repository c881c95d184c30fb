"""Functions of a notebook as tools of a model."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .attach import beginning


class Tools:
    """Functions by name. Nothing runs by itself: whoever calls `run` has been asked by the person."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self._descriptions: dict[str, dict[str, Any]] = {}

    def add(self, function: Callable[..., Any]) -> None:
        """Offer a function; one of the same name is replaced.

        Raises:
            pydantic.errors.PydanticUserError: a parameter's type has no JSON schema.
            NameError: it is not known. In both cases the function is not offered.
        """
        self._descriptions[function.__name__] = _described(function)
        self._functions[function.__name__] = function

    def describe(self) -> list[dict[str, Any]]:
        """The functions as OpenAI describes tools: their docstrings, and their parameters' types as JSON schema."""
        return list(self._descriptions.values())

    async def run(self, name: str, arguments: str) -> str:
        """Call a function with arguments as the model wrote them; what it returns, or why it did not, as text.

        A long one is cut: a message to the browser has a limit, and so has what a model reads. The event loop goes on
        meanwhile: cancellations come on it. A thread that is cancelled ends by itself only.
        """
        text = await self._result(name, arguments)
        start = beginning(text)
        more = len(text) - len(start)
        return f"{start}\n… {more:,} characters more." if more else text

    async def _result(self, name: str, arguments: str) -> str:
        function = self._functions.get(name)
        if function is None:
            return f"Error: there is no function {name!r}."
        try:
            result = await _called(function, arguments or "{}")
            if inspect.isawaitable(result):
                result = await result
            return _text(result)
        except asyncio.CancelledError:
            raise
        except ValidationError as error:
            return f"Error: {error.error_count()} of the arguments do not fit. {_reasons(error)}"
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # the model is told what the function raised
            # The two of the system would end the kernel: argparse, for one, raises SystemExit for wrong arguments.
            return f"Error: {type(error).__name__}: {error}"


async def _called(function: Callable[..., Any], arguments: str) -> Any:
    """Check the arguments against the function's types, and call it; one that may take its time in a thread."""
    call = _adapter(function).validate_json
    return call(arguments) if inspect.iscoroutinefunction(function) else await asyncio.to_thread(call, arguments)


def _text(result: Any) -> str:
    """As JSON, or in Python's words where JSON cannot say it: a dict by tuples, something that holds itself."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(result)


def _described(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = _adapter(function).json_schema()
    described = {"name": function.__name__, "description": inspect.getdoc(function) or "", "parameters": parameters}
    return {"type": "function", "function": described}


def _adapter(function: Any) -> TypeAdapter[Any]:
    return TypeAdapter(function)


def _reasons(error: ValidationError) -> str:
    return " ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}." for detail in error.errors())
