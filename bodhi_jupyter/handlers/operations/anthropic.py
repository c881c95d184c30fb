"""Anthropic's Messages, as OpenAPI describes them."""

from __future__ import annotations

from ...wire.answers_anthropic import CountedTokens, MessageAnswer, MessageEvent
from ...wire.anthropic import CountTokensRequest, MessagesRequest
from ...wire.openapi import Events, Operation, Reply
from .common import ANTHROPIC, OF_A_MODEL, OWED

TAG = "Anthropic's Messages"

_QUESTION = {"model": "default", "messages": [{"role": "user", "content": "How do I get a bigger model?"}]}
_EXAMPLES = {
    "A question": {**_QUESTION, "max_tokens": 64},
    "A stream": {**_QUESTION, "max_tokens": 64, "stream": True},
    "A tool": {
        "model": "default",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Is it raining in Oslo?"}],
        "tools": [
            {
                "name": "weather",
                "description": "The weather in a town.",
                "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
            }
        ],
    },
}
_MESSAGE = {
    "id": "msg_6SBtyTtQ7uWnjRWeSoU3hG4ddW9JqinF",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Rhine, Nile, Amazon."}],
    "model": "guide",
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 26,
        "output_tokens": 6,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    },
}
_STREAM = """event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Rhine"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":6}}

event: message_stop
data: {"type":"message_stop"}

"""

OPERATIONS = [
    Operation(
        route="POST /v1/messages",
        tag=TAG,
        summary="Answer a message",
        description=f"`anthropic-version` may be anything. Images are sent along, never fetched. {OWED}",
        dialect=ANTHROPIC,
        request=MessagesRequest,
        examples=_EXAMPLES,
        replies={
            200: Reply("The message, whole or streamed.", MessageAnswer, _MESSAGE, events=Events(MessageEvent, _STREAM))
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/messages/count_tokens",
        tag=TAG,
        summary="Count a message's tokens",
        description="How many tokens the message would have as a prompt, the alias's system prompt included.",
        dialect=ANTHROPIC,
        request=CountTokensRequest,
        examples={"A question": _QUESTION},
        replies={200: Reply("The number of tokens.", CountedTokens, {"input_tokens": 23})},
        errors=OF_A_MODEL,
    ),
]
