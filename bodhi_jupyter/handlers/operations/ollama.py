"""Ollama's chats, texts and vectors, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from ...wire.answers_ollama import OllamaChatLine, OllamaEmbedding, OllamaEmbeddings, OllamaGenerateLine
from ...wire.ollama import OllamaChatRequest, OllamaEmbeddingsRequest, OllamaEmbedRequest, OllamaGenerateRequest
from ...wire.openapi import Lines, Operation, Reply
from .common import OLLAMA, OWED, WITH_BODY

TAG = "Ollama"

#: A full queue is 503 here, a failed backend 500.
OF_A_MODEL = (404, 429, 501, 503, 504, *WITH_BODY)

_CHAT: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "How do I get a bigger model?"}]}
_CHATS = {
    "A stream": _CHAT,
    "A whole answer": {**_CHAT, "stream": False, "options": {"num_predict": 64, "temperature": 0.2}},
    "Load the model": {"model": "default", "keep_alive": "10m"},
}
_WHEN = {"model": "default", "created_at": "2026-11-25T20:04:05.123456Z"}
_NUMBERS = {
    "total_duration": 61_203_456,
    "load_duration": 1_204_300,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 8_460_000,
    "eval_count": 6,
    "eval_duration": 49_870_000,
}
_SAID = {"role": "assistant", "content": "Rhine, Nile, Amazon."}
_CHAT_LINES = """\
{"model":"default","created_at":"2026-11-25T20:04:05.123456Z","message":{"role":"assistant","content":"Rhine"},"done":false}
{"model":"default","created_at":"2026-11-25T20:04:05.173456Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}
"""
_TEXT: dict[str, Any] = {"model": "default", "prompt": "Once upon a time"}
_TEXTS = {
    "A stream": _TEXT,
    "As it is": {**_TEXT, "raw": True, "stream": False},
    "What fills a gap": {"model": "coder", "prompt": "def add(a, b):", "suffix": "return c"},
}
_TEXT_LINES = """\
{"model":"default","created_at":"2026-11-25T20:04:05.123456Z","response":" there","done":false}
{"model":"default","created_at":"2026-11-25T20:04:05.173456Z","response":"","done":true,"done_reason":"stop"}
"""

OPERATIONS = [
    Operation(
        route="POST /api/chat",
        tag=TAG,
        summary="Answer a chat",
        description="Streams unless `stream` is false. Without messages the model is loaded, with a `keep_alive` of 0 "
        "unloaded. A chat that does not fit is refused; with `truncate` true its oldest messages are left out. "
        f"{OWED}",
        dialect=OLLAMA,
        request=OllamaChatRequest,
        examples=_CHATS,
        replies={
            200: Reply(
                "The answer, as lines or whole.",
                OllamaChatLine,
                {**_WHEN, "message": _SAID, "done": True, "done_reason": "stop", **_NUMBERS},
                lines=Lines(OllamaChatLine, _CHAT_LINES),
            )
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /api/generate",
        tag=TAG,
        summary="Go on with a text",
        description="Through the model's template, or as it is with `raw`; `context` goes on where an answer ended. "
        f"{OWED}",
        dialect=OLLAMA,
        request=OllamaGenerateRequest,
        examples=_TEXTS,
        replies={
            200: Reply(
                "The answer, as lines or whole.",
                OllamaGenerateLine,
                {**_WHEN, "response": " there", "done": True, "done_reason": "stop", **_NUMBERS, "context": [1, 87]},
                lines=Lines(OllamaGenerateLine, _TEXT_LINES),
            )
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /api/embed",
        tag=TAG,
        summary="Turn texts into vectors",
        description="Of length 1. A text that is too long is cut, unless `truncate` is false.",
        dialect=OLLAMA,
        request=OllamaEmbedRequest,
        examples={"Two texts": {"model": "default", "input": ["the sea", "a hill"]}},
        replies={
            200: Reply(
                "The vectors.",
                OllamaEmbeddings,
                {"model": "default", "embeddings": [[0.6, 0.8], [0.0, 1.0]], "prompt_eval_count": 6},
            )
        },
        errors=OF_A_MODEL,
    ),
    Operation(
        route="POST /api/embeddings",
        tag=TAG,
        summary="Turn one text into a vector",
        description="The older form of `/api/embed`.",
        dialect=OLLAMA,
        request=OllamaEmbeddingsRequest,
        examples={"A text": {"model": "default", "prompt": "the sea"}},
        replies={200: Reply("The vector.", OllamaEmbedding, {"embedding": [0.6, 0.8]})},
        errors=OF_A_MODEL,
    ),
]
