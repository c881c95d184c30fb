"""Messages there and back: nothing that was said is lost."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bodhi_jupyter.wire.errors import BackendFailed, InvalidField
from bodhi_jupyter.wire.ollama_messages import OllamaMessage, to_openai_messages, tool_calls_from_openai

settings.register_profile("bodhi", deadline=None, database=None, max_examples=150, derandomize="CI" in os.environ)
settings.load_profile("bodhi")

HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\n\n\n\nWEBPVP8 ",
    "image/bmp": b"BM",
}
SOUNDS = {"wav": b"RIFF\n\n\n\nWAVEfmt ", "mp3": b"ID3\x04", "mp3 without a tag": b"\xff\xfb\x90"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sent(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return to_openai_messages([OllamaMessage.model_validate(message) for message in messages])


def call(name: str, call_id: str = "", **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize("mime", HEADS)
@pytest.mark.parametrize("spelt", ["{}", "data:image/png;base64,{}", "\n{}\r\n"])
def test_images_are_what_their_bytes_say(mime, spelt) -> None:
    image = b64(HEADS[mime] + b"rest")
    (message,) = sent({"role": "user", "content": "look", "images": [spelt.format(image)]})
    assert message["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{image}"}},
    ]


@pytest.mark.parametrize("sound", SOUNDS)
def test_sound_among_the_images(sound) -> None:
    data = b64(SOUNDS[sound])
    (message,) = sent({"role": "user", "images": [data]})
    assert message["content"] == [{"type": "input_audio", "input_audio": {"data": data, "format": sound[:3]}}]


@pytest.mark.parametrize(
    "image", ["", "?", "abc", "é", "https://example.org/a.png", "data:image/png,xyz", b64(b"text")]
)
def test_what_is_no_image(image) -> None:
    with pytest.raises(InvalidField) as info:
        sent({"role": "user", "images": [image]})
    assert info.value.param == "messages[0].images[0]"


def test_roles() -> None:
    assert [one["role"] for one in sent({"role": "USER"}, {"role": "developer"})] == ["user", "system"]


def test_calls_are_given_ids_and_results_find_them() -> None:
    messages = sent(
        {"role": "assistant", "tool_calls": [call("f", x=1), call("g"), call("f", x=2)]},
        {"role": "tool", "content": "second", "tool_name": "g"},
        {"role": "tool", "content": "first", "tool_name": "f"},
        {"role": "tool", "content": "third", "tool_name": "f"},
        {"role": "assistant", "tool_calls": [call("f", "own")]},
        {"role": "tool", "content": "again", "tool_name": "f"},
        {"role": "tool", "content": "nobody asked", "tool_name": "f"},
    )
    ids = [one["id"] for one in messages[0]["tool_calls"]]
    assert len(set(ids)) == 3
    assert [one["tool_call_id"] for one in messages[1:4]] == [ids[1], ids[0], ids[2]]
    assert [one["index"] for one in messages[0]["tool_calls"]] == [0, 1, 2]
    assert messages[0]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x":1}'}
    assert messages[1]["name"] == "g"
    assert messages[5]["tool_call_id"] == "own"
    assert messages[6]["tool_call_id"] not in {*ids, "own"}


def test_a_result_without_a_name_answers_the_first_open_call() -> None:
    messages = sent(
        {"role": "assistant", "tool_calls": [call("f", "a"), call("g", "b")]},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2"},
    )
    assert [one["tool_call_id"] for one in messages[1:]] == ["a", "b"]


def test_arguments_that_json_cannot_hold() -> None:
    with pytest.raises(InvalidField) as info:
        sent({"role": "assistant", "tool_calls": [call("f", x=float("inf"))]})
    assert info.value.param == "messages[0].tool_calls[0].function.arguments"


def test_calls_come_back_as_objects_in_order() -> None:
    calls = [
        {
            "id": "c1",
            "index": 0,
            "type": "function",
            "function": {"name": "f", "arguments": '{"z":1,"a":{"y":[],"b":2}}'},
        },
        {"id": "c2", "index": 1, "type": "function", "function": {"name": "g", "arguments": ""}},
    ]
    first, second = tool_calls_from_openai(calls)
    assert json.dumps(first) == json.dumps(
        {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"z": 1, "a": {"y": [], "b": 2}}}}
    )
    assert second == {"id": "c2", "function": {"index": 1, "name": "g", "arguments": {}}}


@pytest.mark.parametrize(
    "arguments", ["{", "[1]", "1", "null", '{"a":NaN}', '{"a":1e999}', "[" * 10**5, 3, '{"a":' + "1" * 5000 + "}"]
)
def test_arguments_that_are_no_object(arguments) -> None:
    with pytest.raises(BackendFailed, match="'f' with arguments that are not a JSON object"):
        tool_calls_from_openai([{"id": "c", "function": {"name": "f", "arguments": arguments}}])


@pytest.mark.parametrize("broken", [None, "x", {}, {"function": None}, {"function": {"name": 1}}])
def test_calls_that_are_none(broken) -> None:
    with pytest.raises(BackendFailed):
        tool_calls_from_openai([broken])


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = st.text("abc_", min_size=1, max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
ARGUMENTS = st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3))
IMAGES = st.builds(
    lambda head, rest: b64(head + rest), st.sampled_from([*HEADS.values(), *SOUNDS.values()]), st.binary()
)
CALLS = st.builds(lambda name, arguments: call(name, "", **arguments), NAME, st.just({})) | st.builds(
    lambda name, arguments: {"function": {"name": name, "arguments": arguments}}, NAME, ARGUMENTS
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user"]), "content": TEXT},
        optional={"images": st.lists(IMAGES, min_size=1, max_size=3)},
    )
    | st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": TEXT},
        optional={"thinking": TEXT.filter(bool), "tool_calls": st.lists(CALLS, min_size=1, max_size=3)},
    )
    | st.fixed_dictionaries({"role": st.just("tool"), "content": TEXT}, optional={"tool_name": NAME}),
    max_size=6,
)


def back_again(message: dict[str, Any]) -> dict[str, Any]:
    """An OpenAI message as Ollama has it: the inverse of what is sent."""
    content = message["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    media = [part for part in parts if part["type"] != "text"]
    calls = [
        {"id": one["id"], "function": {**one["function"], "arguments": json.loads(one["function"]["arguments"])}}
        for one in message.get("tool_calls", ())
    ]
    pairs = {
        "role": message["role"],
        "content": "".join(part["text"] for part in parts if part["type"] == "text"),
        "thinking": message.get("reasoning_content"),
        "images": [base64_of(part) for part in media] or None,
        "tool_calls": calls or None,
        "tool_name": message.get("name"),
        "tool_call_id": message.get("tool_call_id"),
    }
    return {key: value for key, value in pairs.items() if value is not None}


def base64_of(part: dict[str, Any]) -> str:
    sound = part.get("input_audio")
    return sound["data"] if sound else part["image_url"]["url"].partition(";base64,")[2]


@given(MESSAGES)
def test_there_and_back_keeps_all_that_was_said(messages) -> None:
    back = [back_again(message) for message in sent(*messages)]
    assert [said(message) for message in back] == [said(message) for message in messages]
    # And once more, now with ids: nothing changes any longer.
    again = [back_again(message) for message in sent(*back)]
    assert json.dumps(again) == json.dumps(back)


def said(message: dict[str, Any]) -> dict[str, Any]:
    """What must survive; ids and indices are added on the way."""
    kept = {key: message[key] for key in ("role", "content", "thinking", "images", "tool_name") if key in message}
    calls = [one["function"] for one in message.get("tool_calls", [])]
    # As text, for the order of the keys.
    return {**kept, "calls": [(one["name"], json.dumps(one["arguments"])) for one in calls]}


@given(MESSAGES)
def test_no_call_is_answered_twice(messages) -> None:
    answered = [message["tool_call_id"] for message in sent(*messages) if message["role"] == "tool"]
    assert len(answered) == len(set(answered))


def test_results_find_their_calls_at_once_however_many_there_are() -> None:
    """Minutes, were each result held against each call."""
    many = range(60_000)
    messages = sent(
        {"role": "assistant", "tool_calls": [call("f", f"id {index}") for index in many]},
        *({"role": "tool", "content": "", "tool_call_id": f"unknown {index}"} for index in many),
        {"role": "tool", "content": "", "tool_call_id": f"id {many[-1]}"},
        {"role": "tool", "content": ""},
    )
    assert [one["tool_call_id"] for one in messages[-3:]] == [f"unknown {many[-1]}", f"id {many[-1]}", "id 0"]
