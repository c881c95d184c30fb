"""LlamaIndex's OpenAILike in a cell of a notebook; it reads the key from the environment, and the address not."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

model = OpenAILike(
    model="default",
    api_base=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
    is_chat_model=True,
    max_tokens=8,
    max_retries=0,
)
messages = [ChatMessage(role="user", content="hello")]
answer = model.chat(messages)
pieces = list(model.stream_chat(messages))

told = {
    "answer": answer.message.content,
    "model": answer.raw.model,
    "finish": answer.raw.choices[0].finish_reason,
    "tokens": answer.additional_kwargs["completion_tokens"],
    "pieces": [piece.delta for piece in pieces],
    "completed": model.complete("once upon").text,
}
try:
    model.model_copy(update={"model": "nobody-has-this"}).chat(messages)
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
