"""LangChain's ChatOpenAI in a cell of a notebook: neither address nor key is said."""

from typing import Literal

from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

model = ChatOpenAI(model="default", max_tokens=8, max_retries=0)
patient = ChatOpenAI(model="default", max_tokens=200, max_retries=0)


class Room(BaseModel):
    city: Literal["Oslo", "Rome"]
    large: bool


def weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather in a city."""
    return f"rain in {city}"


answer = model.invoke("hello")
pieces = list(model.stream("hello", stream_usage=True))
room = patient.with_structured_output(Room, method="json_schema").invoke("hello")

# Random weights would never begin a call by themselves; the tools' grammar goes on from here.
begun = [("user", "hello"), ("assistant", "<tool_call>")]
asking = patient.bind_tools([weather], tool_choice="weather").invoke(begun)
(call,) = asking.tool_calls
result = ToolMessage(weather(**call["args"]), tool_call_id=call["id"])
after = model.invoke([("user", "hello"), asking, result])

vectors = OpenAIEmbeddings(model="default", check_embedding_ctx_length=False).embed_documents(["the sea", "a hill"])

told = {
    "answer": answer.content,
    "model": answer.response_metadata["model_name"],
    "finish": answer.response_metadata["finish_reason"],
    "tokens": answer.usage_metadata["output_tokens"],
    "pieces": [piece.content for piece in pieces],
    "streamed_tokens": sum(piece.usage_metadata["output_tokens"] for piece in pieces if piece.usage_metadata),
    "structured": room.city,
    "called": [call["name"], call["args"]["city"]],
    "after": after.content,
    "dimensions": [len(vector) for vector in vectors],
}
try:
    ChatOpenAI(model="nobody-has-this", max_retries=0).invoke("hello")
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
