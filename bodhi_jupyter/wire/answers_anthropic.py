"""What ``/v1/messages`` answers, for the documentation (Anthropic's API reference); see `answers`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from .answers import AnswerModel, Count


class AnthropicErrorDetail(AnswerModel):
    """What went wrong; the message begins with the field."""

    type: str
    message: str


class AnthropicError(AnswerModel):
    """An error in Anthropic's shape; the last event of a stream that broke."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: str


class MessageText(AnswerModel):
    """Text."""

    type: Literal["text"]
    text: str


class MessageThinking(AnswerModel):
    """The model's thoughts; there is no signature to them here."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class MessageToolUse(AnswerModel):
    """A tool that the model wants used."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


MessageBlock = Annotated[MessageText | MessageThinking | MessageToolUse, Field(discriminator="type")]
StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class MessageUsage(AnswerModel):
    """Tokens, as the model counts them; those that were in its cache are counted apart."""

    input_tokens: Count
    output_tokens: Count
    cache_creation_input_tokens: Count
    cache_read_input_tokens: Count


class MessageAnswer(AnswerModel):
    """A message of the model's."""

    id: Annotated[str, Field(pattern="^msg_")]
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[MessageBlock]
    model: str
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage


class CountedTokens(AnswerModel):
    """How many tokens the prompt would have."""

    input_tokens: Count


class MessageStart(AnswerModel):
    """The beginning."""

    type: Literal["message_start"]
    message: MessageAnswer


class BlockStart(AnswerModel):
    """A block begins."""

    type: Literal["content_block_start"]
    index: Count
    content_block: MessageBlock


class TextDelta(AnswerModel):
    """A piece of text."""

    type: Literal["text_delta"]
    text: str


class ThinkingDelta(AnswerModel):
    """A piece of thought."""

    type: Literal["thinking_delta"]
    thinking: str


class InputDelta(AnswerModel):
    """A piece of a tool's input, as JSON text."""

    type: Literal["input_json_delta"]
    partial_json: str


class SignatureDelta(AnswerModel):
    """A thought's signature, empty."""

    type: Literal["signature_delta"]
    signature: str


class BlockDelta(AnswerModel):
    """What is added to a block."""

    type: Literal["content_block_delta"]
    index: Count
    delta: Annotated[TextDelta | ThinkingDelta | InputDelta | SignatureDelta, Field(discriminator="type")]


class BlockStop(AnswerModel):
    """A block ends."""

    type: Literal["content_block_stop"]
    index: Count


class StopDelta(AnswerModel):
    """Why the message ends."""

    stop_reason: StopReason | None
    stop_sequence: str | None


class OutputTokens(AnswerModel):
    """Tokens written."""

    output_tokens: Count


class MessageDelta(AnswerModel):
    """The end of what the model says."""

    type: Literal["message_delta"]
    delta: StopDelta
    usage: OutputTokens


class MessageStop(AnswerModel):
    """The end."""

    type: Literal["message_stop"]


class Ping(AnswerModel):
    """A sign of life."""

    type: Literal["ping"]


class MessageEvent(
    RootModel[
        Annotated[
            MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping | AnthropicError,
            Field(discriminator="type"),
        ]
    ]
):
    """An event of a message's stream; the last is `message_stop` or `error`."""

    model_config = ConfigDict(defer_build=True)
