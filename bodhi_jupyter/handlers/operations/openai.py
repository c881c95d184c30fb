"""Chats, completions, embeddings and rankings, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from ...wire.answers import (
    ChatCompletion,
    ChatStreamData,
    EmbeddingList,
    InputTokens,
    NativeAnswer,
    RerankAnswer,
    TextCompletion,
    TextStreamData,
)
from ...wire.completions import CompletionRequest
from ...wire.embeddings import EmbeddingRequest
from ...wire.openai import ChatRequest
from ...wire.openapi import Events, Operation, Reply
from ...wire.rerank import RerankRequest
from ..passthrough import NativeRequest
from .common import OF_A_MODEL, OPENAI, OWED

CHAT = "Chat"
TEXT = "Completions, embeddings, reranking"

_QUESTION = [{"role": "user", "content": "How do I get a bigger model?"}]
_USAGE = {"prompt_tokens": 26, "completion_tokens": 6, "total_tokens": 32}
_ID: dict[str, Any] = {"id": "chatcmpl-JeuAIIJrymLMQVZ7MdnfxCtNropoTcCe", "created": 1795387277, "model": "guide"}
_WEATHER = {
    "name": "weather",
    "description": "The weather in a town.",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}

_CHAT_EXAMPLES = {
    "A question": {"model": "default", "messages": _QUESTION, "max_tokens": 64},
    "A stream": {
        "model": "default",
        "messages": _QUESTION,
        "max_tokens": 64,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "JSON that fits a schema": {
        "model": "default",
        "messages": [{"role": "user", "content": "Which is the longest river?"}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "river",
                "schema": {
                    "type": "object",
                    "properties": {"river": {"enum": ["Amazon", "Nile", "Rhine"]}, "sure": {"type": "boolean"}},
                    "required": ["river", "sure"],
                    "additionalProperties": False,
                },
            },
        },
    },
    "A tool": {
        "model": "default",
        "messages": [{"role": "user", "content": "Is it raining in Oslo?"}],
        "tools": [{"type": "function", "function": _WEATHER}],
    },
}
_CHAT = {
    **_ID,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Rhine, Nile, Amazon.", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": _USAGE,
}
_CHAT_STREAM = """data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":""}}],"created":1795387277,"id":"chatcmpl-Je","model":"guide","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Rhine"}}],"created":1795387277,"id":"chatcmpl-Je","model":"guide","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"created":1795387277,"id":"chatcmpl-Je","model":"guide","object":"chat.completion.chunk"}

data: [DONE]

"""  # noqa: E501 - as it travels
_TEXT = {
    **_ID,
    "object": "text_completion",
    "choices": [{"index": 0, "text": " the sea.", "logprobs": None, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_TEXT_STREAM = """data: {"choices":[{"text":" the","index":0,"logprobs":null,"finish_reason":null}],"created":1795387277,"model":"guide","object":"text_completion","id":"cmpl-Je"}

data: {"choices":[{"text":" sea.","index":0,"logprobs":null,"finish_reason":"stop"}],"created":1795387277,"model":"guide","object":"text_completion","id":"cmpl-Je"}

data: [DONE]

"""  # noqa: E501 - as it travels
_EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.0, 0.8]}],
    "model": "guide",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
_RANKING = {
    "model": "reranker",
    "object": "list",
    "results": [{"index": 1, "relevance_score": 0.94}, {"index": 0, "relevance_score": 0.02}],
    "usage": {"prompt_tokens": 31, "total_tokens": 31},
}
_COUNTED = Reply("The number of tokens.", InputTokens, {"input_tokens": 23, "object": "response.input_tokens"})

OPERATIONS = [
    Operation(
        route="POST /v1/chat/completions",
        tag=CHAT,
        summary="Answer a chat",
        description="With `stream` the answer comes in pieces. While a model loads the request waits; after ten "
        f"seconds, comments keep a stream alive. {OWED}",
        dialect=OPENAI,
        request=ChatRequest,
        examples=_CHAT_EXAMPLES,
        replies={
            200: Reply(
                "The answer, whole or streamed.",
                ChatCompletion,
                _CHAT,
                events=Events(ChatStreamData, _CHAT_STREAM, done=True),
            )
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/chat/completions/input_tokens",
        tag=CHAT,
        summary="Count a chat's tokens",
        description="How many tokens the chat would have as a prompt, the alias's defaults included.",
        dialect=OPENAI,
        request=ChatRequest,
        examples={"A question": _CHAT_EXAMPLES["A question"]},
        replies={200: _COUNTED},
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/chat/completions/control",
        tag=CHAT,
        summary="Control a running answer",
        description="llama.cpp's own, passed through: `reasoning_end` ends the thoughts of the answer named by `id`.",
        dialect=OPENAI,
        request=NativeRequest,
        examples={"No more thoughts": {"model": "default", "id": "chatcmpl-Je", "action": "reasoning_end"}},
        replies={200: Reply("What llama.cpp answers.", NativeAnswer, {"success": True})},
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/systemone",
        tag=CHAT,
        summary="Decide at once",
        description="llama.cpp's own, passed through, for models that were made for it.",
        dialect=OPENAI,
        request=NativeRequest,
        examples={"An input": {"model": "default", "input": "Is this spam?"}},
        replies={200: Reply("What llama.cpp answers.", NativeAnswer, {})},
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/completions",
        tag=TEXT,
        summary="Go on with a text",
        description="`suffix` fills in the middle, where the model can. An answer that ends by itself and is not "
        "the JSON that `json_schema` or `response_format` asks for is an error.",
        dialect=OPENAI,
        request=CompletionRequest,
        examples={
            "A beginning": {"model": "default", "prompt": "All rivers run into", "max_tokens": 16},
            "A stream": {"model": "default", "prompt": "All rivers run into", "max_tokens": 16, "stream": True},
        },
        replies={
            200: Reply(
                "The text, whole or streamed.",
                TextCompletion,
                _TEXT,
                events=Events(TextStreamData, _TEXT_STREAM, done=True),
            )
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/embeddings",
        tag=TEXT,
        summary="Turn texts into vectors",
        description="`dimensions` keeps the first numbers of each vector and brings it back to length 1.",
        dialect=OPENAI,
        request=EmbeddingRequest,
        examples={"Two texts": {"model": "default", "input": ["a river", "a sea"]}},
        replies={200: Reply("A vector for each input.", EmbeddingList, _EMBEDDINGS)},
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /v1/rerank",
        tag=TEXT,
        summary="Rank documents by a query",
        description="For models that were made for it, as their files say, or an alias with `reranking: true`. Also at "
        "`/v1/reranking`.",
        dialect=OPENAI,
        request=RerankRequest,
        examples={
            "Two documents": {"model": "reranker", "query": "Where is Oslo?", "documents": ["A bird.", "In Norway."]}
        },
        replies={200: Reply("The documents, best first.", RerankAnswer, _RANKING)},
        errors=OF_A_MODEL,
    ),
]
