"""LlamaIndex's Ollama in a cell of a notebook; it reads the key from the environment, and the address not."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.ollama import Ollama

few = {"num_predict": 8}
model = Ollama(model="tiny-random", base_url=os.environ["OLLAMA_HOST"], context_window=2048, additional_kwargs=few)
messages = [ChatMessage(role="user", content="hello")]
answer = model.chat(messages)
pieces = list(model.stream_chat(messages))

told = {
    "answer": answer.message.content,
    "model": answer.raw["model"],
    "finish": answer.raw["done_reason"],
    "tokens": answer.raw["eval_count"],
    "pieces": [piece.delta for piece in pieces],
    "completed": model.complete("once upon").text,
}
try:
    Ollama(model="nobody-has-this", base_url=os.environ["OLLAMA_HOST"]).chat(messages)
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
