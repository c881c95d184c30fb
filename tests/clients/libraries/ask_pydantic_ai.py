"""Pydantic AI in a cell of a notebook: ``openai-chat:`` before the model's name is its word for OpenAI's chats."""

from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput

called = []


class Room(BaseModel):
    city: Literal["Oslo", "Rome"]
    large: bool


# Drawn at random, an answer is one word now and then, which is no stream of pieces.
agent = Agent("openai-chat:default", model_settings={"max_tokens": 8, "seed": 1})
result = await agent.run("hello")
async with agent.run_stream("hello") as streamed:
    pieces = [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]

patient = {"max_tokens": 200}
room = (await Agent("openai-chat:default", output_type=NativeOutput(Room), model_settings=patient).run("hello")).output
answered = await Agent("openai-responses:default", model_settings={"max_tokens": 16}).run("hello")

last = result.all_messages()[-1]
told = {
    "answer": result.output,
    "model": last.model_name,
    "finish": last.finish_reason,
    "tokens": result.usage.output_tokens,
    "pieces": pieces,
    "streamed_tokens": streamed.usage.output_tokens,
    "structured": room.city,
    "after": answered.output,
}
try:
    await Agent("openai-chat:nobody-has-this").run("hello")
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
