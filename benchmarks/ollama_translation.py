"""What one chunk costs on its way to an Ollama client, beside one that passes as bytes to an OpenAI client.

Run it anywhere: ``python benchmarks/ollama_translation.py``. It prints microseconds of CPU time per event, the best of
several rounds, and how often the OpenAI guard's each is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from bodhi_jupyter.handlers.ollama.base import timestamp
from bodhi_jupyter.wire.guard import StreamFilter, StreamGuard
from bodhi_jupyter.wire.ollama_pieces import chat_piece
from bodhi_jupyter.wire.ollama_stream import ChatEnvelope, OllamaGuard, Timestamps

IDENTITY = {
    "created": 1795552342,
    "id": "chatcmpl-TLKm7wIYYfG6LuFw6lC2pA7MBnVaKLaS",
    "model": "m",
    "system_fingerprint": "b11549-abc",
    "object": "chat.completion.chunk",
}
TOKEN = {"id": 5, "token": " hill", "bytes": [32, 104], "logprob": -1.5, "top_logprobs": []}


def chunk(delta: Mapping[str, Any], **more: Any) -> bytes:
    """An event as llama.cpp spells it."""
    choice = {"finish_reason": None, "index": 0, "delta": delta, **more}
    data = json.dumps({"choices": [choice], **IDENTITY}, separators=(",", ":"))
    return f"data: {data}\n\n".encode()


def reordered(event: bytes) -> bytes:
    """The same with its keys the other way round, as another server may send them."""
    pairs = reversed(json.loads(event.removeprefix(b"data: ")).items())
    return f"data: {json.dumps(dict(pairs), separators=(',', ':'))}\n\n".encode()


def openai_guard() -> StreamFilter:
    """What a chat of OpenAI's passes through."""
    return StreamGuard("b")


def ollama_guard() -> StreamFilter:
    """What a chat of Ollama's is translated by."""
    return OllamaGuard("b", "m", chat_piece, ChatEnvelope(), Timestamps(time.perf_counter, timestamp, 0.0))


def microseconds(make: Callable[[], StreamFilter], read: bytes, *, rounds: int, count: int) -> float:
    """CPU time of one event in `read`."""
    best = float("inf")
    for _ in range(rounds):
        guard = make()
        began = time.process_time()
        for _ in range(count):
            guard.feed(read)
        best = min(best, time.process_time() - began)
    return best / count / read.count(b"\n\n") * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="reads in a round")
    options = parser.parse_args()

    plain = chunk({"content": " hill"})
    reads = {
        "plain": plain,
        "thinking": chunk({"reasoning_content": " hill"}),
        "two in a read": plain * 2,
        "logprobs": chunk({"content": " hill"}, logprobs={"content": [TOKEN]}),
        "another key order": reordered(plain),
    }
    print(f"{'':<20}{'OpenAI':>10}{'Ollama':>10}{'ratio':>8}")
    for name, read in reads.items():
        passed, translated = (
            microseconds(make, read, rounds=options.rounds, count=options.count)
            for make in (openai_guard, ollama_guard)
        )
        print(f"{name:<20}{passed:>10.2f}{translated:>10.2f}{translated / passed:>8.2f}")


if __name__ == "__main__":
    main()
