"""Answers held against the SDK's own types: every field's type exactly, nothing missing, nothing unheard of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openai import BaseModel
from openai.types import Completion, CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

Answer = TypeVar("Answer", bound=BaseModel)

#: What llama.cpp's answers have beside OpenAI's fields, and its tokens; clients of llama.cpp read them.
EXTRAS = frozenset({"timings", "id"})
#: Required by OpenAI's specification, though its SDK would not notice that they are missing.
PRESENT = {
    "ChatCompletion": {"usage"},
    "ChatCompletionMessage": {"content", "refusal"},
    "chat_completion.Choice": {"logprobs"},
    "CompletionChoice": {"logprobs"},
    "chat_completion_chunk.Choice": {"finish_reason"},
}


def strict(answer: Answer) -> Answer:
    """`answer`, which the SDK itself takes as it comes.

    Raises:
        pydantic.ValidationError: a field has a type that the SDK's model does not give it, or is missing.
    """
    _validate(answer)
    for part in _parts(answer):
        names = {type(part).__name__, f"{type(part).__module__.rpartition('.')[2]}.{type(part).__name__}"}
        required = set().union(*(PRESENT.get(name, set()) for name in names))
        assert required <= part.model_fields_set, (type(part), required - part.model_fields_set)
        assert set(part.model_extra or {}) <= EXTRAS, (type(part), part.model_extra)
    return answer


def _validate(answer: BaseModel) -> None:
    said = json.loads(answer.to_json(exclude_unset=True))
    if isinstance(answer, Completion):
        # The SDK uses the type of whole answers for chunks, which have no reason to finish until they do.
        for choice in said["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
    type(answer).model_validate_json(json.dumps(said), strict=True)


def _parts(within: Any) -> Iterator[BaseModel]:
    """`within` and all models in it."""
    if isinstance(within, BaseModel):
        yield within
        for name in type(within).model_fields:
            yield from _parts(getattr(within, name))
    elif isinstance(within, list):
        for one in within:
            yield from _parts(one)


@dataclass
class Choice:
    """One of the answers, whichever way it came."""

    text: str = ""
    finish_reason: str | None = None
    #: Name and arguments of each.
    calls: list[list[str]] = field(default_factory=list)
    #: Each token and how many alternatives it has.
    tokens: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Told:
    """What an answer says, so that answers that came in different ways can be compared."""

    choices: dict[int, Choice] = field(default_factory=dict)
    usage: tuple[int, int, int] | None = None

    @property
    def text(self) -> str:
        return self.choices[0].text

    def _note(self, index: int, text: str | None, finish_reason: str | None) -> Choice:
        choice = self.choices.setdefault(index, Choice())
        assert choice.finish_reason is None, "something came behind the end"
        choice.text += text or ""
        choice.finish_reason = finish_reason
        return choice

    def _count(self, usage: CompletionUsage | None) -> None:
        if usage is not None:
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            self.usage = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def of_chat(answer: ChatCompletion) -> Told:
    """What a whole answer says."""
    told = Told()
    assert answer.id.startswith("chatcmpl-")
    assert [choice.index for choice in answer.choices] == list(range(len(answer.choices)))
    for choice in strict(answer).choices:
        noted = told._note(choice.index, choice.message.content, choice.finish_reason)
        for call in choice.message.tool_calls or []:
            assert call.type == "function"
            assert call.id
            noted.calls.append([call.function.name, call.function.arguments])
        if choice.message.function_call:
            noted.calls.append([choice.message.function_call.name, choice.message.function_call.arguments])
        if choice.logprobs:
            noted.tokens += [(one.token, len(one.top_logprobs)) for one in choice.logprobs.content or []]
    told._count(answer.usage)
    return told


def of_chunks(chunks: Iterable[ChatCompletionChunk]) -> Told:
    """What a streamed answer says; all its chunks must be of one answer."""
    told, identities, begun = Told(), set(), set()
    for chunk in chunks:
        assert told.usage is None, "something came behind the usage"
        identities.add((strict(chunk).id, chunk.model))
        for choice in chunk.choices:
            if choice.index not in begun:
                assert (choice.delta.role, choice.delta.content) == ("assistant", "")
                begun.add(choice.index)
            noted = told._note(choice.index, choice.delta.content, choice.finish_reason)
            for call in choice.delta.tool_calls or []:
                if call.index == len(noted.calls):
                    assert call.id
                    noted.calls.append(["", ""])
                noted.calls[call.index][0] += (call.function and call.function.name) or ""
                noted.calls[call.index][1] += (call.function and call.function.arguments) or ""
            if called := choice.delta.function_call:
                noted.calls = noted.calls or [["", ""]]
                noted.calls[0][0] += called.name or ""
                noted.calls[0][1] += called.arguments or ""
            if choice.logprobs:
                noted.tokens += [(one.token, len(one.top_logprobs)) for one in choice.logprobs.content or []]
        told._count(chunk.usage)
    assert len(identities) == 1
    assert next(iter(identities))[0].startswith("chatcmpl-")
    return told


def of_text(answer: Completion) -> Told:
    """What a whole text completion says."""
    assert answer.usage is not None
    assert [choice.index for choice in answer.choices] == list(range(len(answer.choices)))
    return _of_texts([answer])


def of_text_chunks(chunks: Iterable[Completion]) -> Told:
    """What a streamed text completion says."""
    return _of_texts(chunks)


def _of_texts(answers: Iterable[Completion]) -> Told:
    told = Told()
    for answer in answers:
        strict(answer)
        for choice in answer.choices:
            noted = told._note(choice.index, choice.text, choice.finish_reason)
            if choice.logprobs:
                noted.tokens += [(token, 0) for token in choice.logprobs.tokens or []]
        told._count(answer.usage)
    return told


def arguments(told: Told) -> dict[str, Any]:
    """The arguments of the only call."""
    ((_, text),) = told.choices[0].calls
    parsed: dict[str, Any] = json.loads(text)
    return parsed
