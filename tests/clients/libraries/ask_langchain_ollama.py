"""LangChain's ChatOllama in a cell of a notebook: neither address nor key is said."""

from typing import Literal

from langchain_core.messages import ToolMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings
from pydantic import BaseModel

model = ChatOllama(model="tiny-random", num_predict=8)


class Room(BaseModel):
    city: Literal["Oslo", "Rome"]
    large: bool


def weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather in a city."""
    return f"rain in {city}"


answer = model.invoke("hello")
pieces = list(model.stream("hello"))
room = ChatOllama(model="tiny-random", num_predict=200).with_structured_output(Room).invoke("hello")

asking = ChatOllama(model="caller").bind_tools([weather]).invoke("hello")
(call, *_) = asking.tool_calls
result = ToolMessage(weather(**call["args"]), tool_call_id=call["id"])
after = model.invoke([("user", "hello"), asking, result])

vectors = OllamaEmbeddings(model="tiny-random").embed_documents(["the sea", "a hill"])

told = {
    "answer": answer.content,
    "model": answer.response_metadata["model"],
    "finish": answer.response_metadata["done_reason"],
    "tokens": answer.usage_metadata["output_tokens"],
    "pieces": [piece.content for piece in pieces],
    "streamed_tokens": sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata),
    "structured": room.city,
    "called": [call["name"], call["args"]["city"]],
    "after": after.content,
    "dimensions": [len(vector) for vector in vectors],
}
try:
    ChatOllama(model="nobody-has-this").invoke("hello")
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
