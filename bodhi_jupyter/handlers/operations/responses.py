"""OpenAI's Responses, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from ...wire.answers import InputTokens
from ...wire.answers_responses import Response, ResponseEvent
from ...wire.openapi import Events, Operation, Parameter, Reply
from ...wire.responses import ResponsesRequest
from .common import ALWAYS, OF_A_MODEL, OPENAI, OWED

TAG = "Responses"

_EXAMPLES = {
    "A question": {"input": "How do I get a bigger model?", "max_output_tokens": 64},
    "A stream": {"model": "default", "input": "How do I get a bigger model?", "max_output_tokens": 64, "stream": True},
    "A chat": {
        "model": "default",
        "instructions": "Be brief.",
        "input": [{"type": "message", "role": "user", "content": "How do I get a bigger model?"}],
    },
    "A tool": {
        "model": "default",
        "input": "Is it raining in Oslo?",
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
            }
        ],
    },
}
_RESPONSE: dict[str, Any] = {
    "id": "resp_gB7RzBXPBJl1c6kou4gNp08kIAFiBxNX",
    "object": "response",
    "created_at": 1795387277,
    "completed_at": 1795387278,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": 64,
    "metadata": {},
    "model": "guide",
    "output": [
        {
            "type": "message",
            "id": "msg_yzRzvPex1YvqHaMx8bLHoI6cIRlNHnl3",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "Rhine, Nile, Amazon.", "annotations": [], "logprobs": []},
            ],
        }
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 26,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 32,
    },
}
_STREAM = """event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_yz","output_index":0,"content_index":0,"delta":"Rhine","logprobs":[],"sequence_number":4}

event: response.output_text.done
data: {"type":"response.output_text.done","item_id":"msg_yz","output_index":0,"content_index":0,"text":"Rhine","logprobs":[],"sequence_number":5}

"""  # noqa: E501 - as it travels
_ID = Parameter("id", "path", "A response's id.", {"type": "string", "pattern": "^[^/]+$"})
_NOTHING_STORED = "Always 404: responses are not stored."

OPERATIONS = [
    Operation(
        route="POST /v1/responses",
        tag=TAG,
        summary="Make a response",
        description="Without a `model` the default one answers. A message in `input` may leave its `type` out. What "
        f"needs a memory (`previous_response_id`, `conversation`, `background`) is refused with 400. {OWED}",
        dialect=OPENAI,
        request=ResponsesRequest,
        examples=_EXAMPLES,
        replies={
            200: Reply("The response, whole or streamed.", Response, _RESPONSE, events=Events(ResponseEvent, _STREAM))
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/responses/input_tokens",
        tag=TAG,
        summary="Count a response's tokens",
        description="How many tokens the request would have as a prompt, the alias's defaults included.",
        dialect=OPENAI,
        request=ResponsesRequest,
        examples={"A question": {"input": "How do I get a bigger model?"}},
        replies={
            200: Reply("The number of tokens.", InputTokens, {"input_tokens": 23, "object": "response.input_tokens"})
        },
        errors=OF_A_MODEL,
    ),
    *(
        Operation(
            route=route,
            tag=TAG,
            summary=summary,
            description=_NOTHING_STORED,
            dialect=OPENAI,
            parameters=[_ID],
            replies={},
            errors=(404, *ALWAYS),
        )
        for route, summary in (
            ("GET /v1/responses/{id}", "Look up a response"),
            ("DELETE /v1/responses/{id}", "Forget a response"),
            ("GET /v1/responses/{id}/input_items", "List a response's input"),
            ("POST /v1/responses/{id}/cancel", "Stop a response"),
        )
    ),
]
