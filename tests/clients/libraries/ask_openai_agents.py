"""OpenAI's Agents SDK in a cell of a notebook: it speaks the Responses API, and runs what the model calls."""

import os
from typing import Literal

os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"  # else it tells OpenAI of each run

from agents import Agent, ModelSettings, Runner, function_tool
from pydantic import BaseModel

called = []


class Room(BaseModel):
    city: Literal["Oslo", "Rome"]
    large: bool


@function_tool
def weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather in a city."""
    called.append(city)
    return f"rain in {city}"


# It takes an answer that a limit cut for a failure, so it asks the model that ends by itself.
agent = Agent(name="plain", model="guide")
result = await Runner.run(agent, "hello")

streamed = Runner.run_streamed(agent, "hello")
events = [event.data async for event in streamed.stream_events() if event.type == "raw_response_event"]
last = events[-1].response

described = Agent(name="described", model="guide", output_type=Room)
room = (await Runner.run(described, "hello")).final_output

choosing = Agent(name="choosing", model="guide", model_settings=ModelSettings(tool_choice="weather"), tools=[weather])
after = await Runner.run(choosing, "What is the weather in Oslo?")

told = {
    "answer": result.final_output,
    "model": last.model,
    "finish": "stop" if last.incomplete_details is None else "length",
    "tokens": result.raw_responses[0].usage.output_tokens,
    "pieces": [event.delta for event in events if event.type == "response.output_text.delta"],
    "streamed_tokens": last.usage.output_tokens,
    "structured": room.city,
    "called": called,
    "after": after.final_output,
}
try:
    await Runner.run(Agent(name="nobody", model="nobody-has-this"), "hello")
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
