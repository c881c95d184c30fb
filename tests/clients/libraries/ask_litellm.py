"""LiteLLM as a client in a cell of a notebook: ``openai/`` before the model's name is its word for OpenAI's API."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices

import litellm

asked = {"model": "openai/default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
answer = litellm.completion(**asked, num_retries=0)
pieces = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}, num_retries=0))
vectors = litellm.embedding(model="openai/default", input=["the sea", "a hill"])

told = {
    "answer": answer.choices[0].message.content,
    "model": answer.model,
    "finish": answer.choices[0].finish_reason,
    "tokens": answer.usage.completion_tokens,
    "pieces": [piece.choices[0].delta.content or "" for piece in pieces if piece.choices],
    "streamed_tokens": pieces[-1].usage.completion_tokens,
    "dimensions": [len(one["embedding"]) for one in vectors.data],
}
try:
    litellm.completion(**{**asked, "model": "openai/nobody-has-this"}, num_retries=0)
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
