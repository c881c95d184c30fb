"""What an alias adds to a request where the caller says nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ..wire.misread import tidied

_INT64 = 2**63

#: These say what is asked, not how: an alias that set one would answer another question.
_CALLERS_OWN = frozenset({"model", "messages", "prompt", "input", "stream", "stream_options"})

#: Of nested values: a JSON schema has a dozen levels; past some hundred pydantic cannot write them down.
_MAX_DEPTH = 64

#: One thing under three names: OpenAI's old and new one, and llama.cpp's.
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
#: What an answer has to fit. Of several the engine takes one, or refuses them.
FORMATS = ("response_format", "json_schema", "grammar")
_TEMPLATE = "chat_template_kwargs"
#: What has one name of OpenAI's and another of llama.cpp's, which goes by its own where it gets both (measured).
_ONE_THING = (("n", "n_cmpl"), ("logprobs", "n_probs"), FORMATS)
_NAMES_OF = {name: names for names in _ONE_THING for name in names}


class RequestParams(BaseModel):
    """Defaults in OpenAI's names and ranges (OpenAI spec 2.3.0); others (`top_k`, `min_p` ...) pass unchecked."""

    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n_predict: int | None = None
    """llama.cpp's name for `max_tokens`; negative for no limit."""
    user: str | None = None
    system_prompt: str | None = None
    """Put before the messages as a system message, unless one of them is a system or developer message."""

    @model_validator(mode="after")
    def _say_one_thing(self) -> RequestParams:
        foreign = sorted(_CALLERS_OWN & (self.model_extra or {}).keys())
        if foreign:
            raise PydanticCustomError("callers_own", "this is the caller's to say", {"field": foreign[0]})
        if _deeper_than(_MAX_DEPTH, self.model_extra):
            raise PydanticCustomError("too_deep", "the values are nested too deeply")
        if len(set(self._token_limits)) > 1:
            raise PydanticCustomError(
                "two_limits", "max_tokens, max_completion_tokens and n_predict are one, but differ"
            )
        return self

    @property
    def token_limit(self) -> int | None:
        """Tokens an answer may have."""
        return next((limit for limit in self._token_limits if limit >= 0), None)

    @property
    def _token_limits(self) -> list[int]:
        said = (self.max_tokens, self.max_completion_tokens, self.n_predict)
        return [limit for limit in said if limit is not None]

    @property
    def plain_defaults(self) -> dict[str, Any]:
        """What is filled in key by key: all but the token limit and the system prompt.

        Put right as a caller's own fields are before they are forwarded.
        """
        return tidied(self.model_dump(exclude_none=True, exclude={*_TOKEN_LIMITS, "system_prompt"}))


def apply_defaults(
    body: dict[str, Any], params: RequestParams, without: Collection[str] = frozenset()
) -> dict[str, Any]:
    """The body of a request that generates text, with `params` where the caller said nothing or ``null``.

    `without` are fields that this kind of request has no place for. `body` is never changed; it is returned itself when
    there is nothing to add, so that its bytes can be forwarded.
    """
    if not params.model_fields_set:
        return body
    added = unsaid_defaults(body, params, without)
    if params.token_limit is not None and all(body.get(key) is None for key in _TOKEN_LIMITS):
        key = next((key for key in _TOKEN_LIMITS if key in body), _TOKEN_LIMITS[0])
        added[key] = params.token_limit
    messages = body.get("messages")
    if params.system_prompt and isinstance(messages, list) and not any(map(_is_instruction, messages)):
        added["messages"] = [{"role": "system", "content": params.system_prompt}, *messages]
    return {**body, **added} if added else body


def unsaid_defaults(body: Mapping[str, Any], params: RequestParams, without: Collection[str] = ()) -> dict[str, Any]:
    """Those of `plain_defaults` that `body` says nothing of, under any of their names; none that is in `without`.

    The arguments of a template are filled in one by one, and come with those that `body` has.
    """
    defaults = {key: value for key, value in params.plain_defaults.items() if key not in without}
    unsaid = {key: value for key, value in defaults.items() if not says_any(body, _NAMES_OF.get(key, (key,)))}
    ours, said = defaults.get(_TEMPLATE), body.get(_TEMPLATE)
    if isinstance(ours, dict) and isinstance(said, dict) and ours.keys() - said.keys():
        unsaid[_TEMPLATE] = {**ours, **said}
    return unsaid


def says_any(body: Mapping[str, Any], names: Collection[str]) -> bool:
    """Whether `body` has one of these fields, and not as null."""
    return any(body.get(name) is not None for name in names)


def _is_instruction(message: object) -> bool:
    return isinstance(message, dict) and message.get("role") in {"system", "developer"}


def _deeper_than(levels: int, value: object) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(levels - 1, item) for item in inner)
