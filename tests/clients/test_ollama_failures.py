"""Ollama's Python client in front of a backend that thinks, calls tools, fails or dies on command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from tests.clients.test_ollama_python import HELLO, WEATHER, credentials
from tests.fakes import behaviours
from tests.fakes.background import BackgroundFake
from tests.live.server import LiveServer

ASKED: dict[str, Any] = {"model": "default", "messages": HELLO}


@pytest.fixture
def failing(fake_server: LiveServer) -> Iterator[ollama.Client]:
    with ollama.Client(**credentials(fake_server)) as client:
        yield client


def until_it_fails(parts: Iterator[ollama.ChatResponse]) -> tuple[str, ollama.ResponseError]:
    text = ""
    with pytest.raises(ollama.ResponseError) as caught:
        for part in parts:
            assert not part.done
            text += part.message.content
    return text, caught.value


# -- thinking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_has_a_field_of_its_own(failing, backend: BackgroundFake, stream):
    backend.behave(behaviours.thinking())
    answer = failing.chat(**ASKED, stream=stream)
    parts = list(answer) if stream else [answer]

    assert "".join(part.message.thinking or "" for part in parts) == "Let me think."
    assert "".join(part.message.content or "" for part in parts) == "Once upon a time é日🦙"
    assert (parts[-1].prompt_eval_count, parts[-1].eval_count) == (30, 5)
    assert (parts[-1].prompt_eval_duration, parts[-1].eval_duration) == (1_500_000, 2_500_000)


def test_thinking_of_generate_has_a_field_of_its_own(failing, backend: BackgroundFake):
    backend.behave(behaviours.thinking())
    answer = failing.generate(model="default", prompt="hello")

    assert (answer.thinking, answer.response) == ("Let me think.", "Once upon a time é日🦙")


def test_what_was_thought_goes_back_to_the_model(failing, backend: BackgroundFake):
    backend.behave(behaviours.thinking())
    first = failing.chat(**ASKED)
    failing.chat(model="default", messages=[*HELLO, first.message, *HELLO])

    said = backend.fake.requests[-1].body["messages"][1]
    assert (said["role"], said["content"]) == ("assistant", "Once upon a time é日🦙")
    assert said["reasoning_content"] == "Let me think."


# -- tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_calls_come_whole_and_at_the_end(failing, backend: BackgroundFake, stream):
    def call(index: int, **function: str) -> bytes:
        identity = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
        return behaviours.chat_chunk({"tool_calls": [{"index": index, **identity, "function": function}]})

    role, *_, _, usage, done = behaviours.chat_events()
    events = [call(0, name="weather", arguments='{"city":'), call(0, arguments='"Oslo"}'), call(1, name="time")]
    backend.behave(behaviours.stream([role, *events, behaviours.chat_chunk({}, "tool_calls"), usage, done]))
    time = {"type": "function", "function": {"name": "time"}}
    answer = failing.chat(**ASKED, tools=[WEATHER, time], stream=stream)
    *parts, last = list(answer) if stream else [answer]

    assert not any(part.message.tool_calls for part in parts)
    assert (last.done, last.done_reason) == (True, "stop")
    calls = [(call.function.name, call.function.arguments) for call in last.message.tool_calls]
    assert calls == [("weather", {"city": "Oslo"}), ("time", {})]


# -- failures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "death",
    [
        behaviours.die_mid_chunk(),
        behaviours.die_between_chunks(),
        behaviours.end_mid_event(),
        behaviours.die_without_finish(),
        behaviours.done_without_finish(),
        behaviours.error_event_mid_stream(),
    ],
    ids=["mid chunk", "between chunks", "mid event", "no finish", "done without finish", "error event"],
)
def test_a_backend_that_dies_in_mid_stream(failing, backend: BackgroundFake, death):
    backend.behave(death)
    text, error = until_it_fails(failing.chat(**ASKED, stream=True))

    assert text == "Once upon"
    assert error.status_code == -1
    assert error.error
    assert backend.fake.url not in error.error


def test_a_backend_that_dies_in_mid_stream_of_generate(failing, backend: BackgroundFake):
    backend.behave(behaviours.die_mid_chunk())
    text = ""
    with pytest.raises(ollama.ResponseError) as caught:
        for part in failing.generate(model="default", prompt="hello", stream=True):
            text += part.response

    assert (text, caught.value.status_code) == ("Once upon", -1)


def test_async_sees_a_death_in_mid_stream(fake_server, backend: BackgroundFake):
    async def main() -> str:
        text = ""
        async with ollama.AsyncClient(**credentials(fake_server)) as client:
            with pytest.raises(ollama.ResponseError) as caught:
                async for part in await client.chat(**ASKED, stream=True):
                    text += part.message.content
        assert caught.value.status_code == -1
        return text

    backend.behave(behaviours.die_mid_chunk())

    assert asyncio.run(main()) == "Once upon"


@pytest.mark.parametrize(
    "failure",
    [
        behaviours.die_mid_chunk(),
        behaviours.refuse,
        behaviours.non_json_answer(),
        behaviours.status(500),
    ],
    ids=["death", "refusal", "html", "500"],
)
def test_a_backend_that_fails_a_whole_answer(failing, backend: BackgroundFake, failure):
    backend.behave(failure)
    with pytest.raises(ollama.ResponseError) as caught:
        failing.chat(**ASKED)

    assert 500 <= caught.value.status_code < 600
    assert backend.fake.url not in caught.value.error


@pytest.mark.parametrize(
    ("silence", "streams", "status"),
    [(behaviours.stall_mid_stream(), True, -1), (behaviours.stall_before_headers(), False, 504)],
)
def test_a_backend_that_is_silent(impatient_server, backend: BackgroundFake, silence, streams, status):
    backend.behave(silence)
    with ollama.Client(**credentials(impatient_server)) as client, pytest.raises(ollama.ResponseError) as caught:
        list(client.chat(**ASKED, stream=streams))

    assert caught.value.status_code == status
    assert caught.value.error
    assert backend.url not in caught.value.error
    backend.wait_until_client_left()


def test_a_backend_that_fails_before_the_first_part_has_a_status(failing, backend: BackgroundFake):
    backend.behave(behaviours.status(500))
    text, error = until_it_fails(failing.chat(**ASKED, stream=True))

    assert text == ""
    assert 500 <= error.status_code < 600


def test_a_stream_that_is_closed_early_stops_the_generation(failing, backend: BackgroundFake):
    backend.behave(behaviours.never_ending())
    stream = failing.chat(**ASKED, stream=True)
    next(stream)

    stream.close()

    backend.wait_until_client_left()
