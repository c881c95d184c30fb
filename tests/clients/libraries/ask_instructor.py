"""Instructor around the OpenAI SDK in a cell of a notebook: structured answers, whole and while they are made."""

from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel


class Room(BaseModel):
    city: Literal["Oslo", "Rome"]
    large: bool


asked = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 200}
by_schema = instructor.from_openai(OpenAI(max_retries=0), mode=instructor.Mode.JSON_SCHEMA)
room, answer = by_schema.chat.completions.create_with_completion(response_model=Room, max_retries=0, **asked)
partial = list(by_schema.chat.completions.create_partial(response_model=Room, max_retries=0, **asked))

# Random weights would never begin a call by themselves; the tools' grammar goes on from here.
begun = [*asked["messages"], {"role": "assistant", "content": "<tool_call>"}]
by_tools = instructor.from_openai(OpenAI(max_retries=0), mode=instructor.Mode.TOOLS)
called = by_tools.chat.completions.create(response_model=Room, max_retries=0, **{**asked, "messages": begun})

told = {
    "answer": answer.choices[0].message.content,
    "model": answer.model,
    "finish": answer.choices[0].finish_reason,
    "tokens": answer.usage.completion_tokens,
    "pieces": [piece.model_dump_json() for piece in partial],
    "structured": room.city,
    "called": called.city,
}
try:
    by_schema.chat.completions.create(response_model=Room, max_retries=0, **{**asked, "model": "nobody-has-this"})
except Exception as error:
    told["error"] = f"{type(error).__name__}: {error}"
