"""Which tokens are charged to a limit, whatever becomes of the answer."""

import asyncio
from typing import Any

import pytest

from tests.fakes import behaviours as behave
from tests.handlers.limiting import BODY, PATH, remaining


@pytest.fixture
def limits() -> dict[str, Any]:
    return {"user": {"requests_per_minute": 50, "tokens_per_minute": 1000}}


@pytest.fixture
def bodhi_config(bodhi_config: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    return {**bodhi_config, "limits": limits, "read_timeout": 30.0}


class TestTokens:
    async def test_a_whole_answer_is_charged_what_the_engine_counted(self, client, records) -> None:
        await client.post(PATH, json=BODY)
        assert await remaining(client, "tokens") == 1000 - 35
        assert not records[0].estimated

    @pytest.mark.parametrize(
        ("path", "stream", "tokens"),
        [(PATH, True, 4), (PATH, False, 4), ("/api/chat", True, 3), ("/api/chat", False, 3)],
    )
    async def test_what_the_caller_left_is_charged_by_its_events(
        self, client, fake, extension, records, eventually, path: str, stream: bool, tokens: int
    ) -> None:
        # The role, which is no line of Ollama's, and three words.
        fake.script = [behave.stall_mid_stream(4)]
        request = asyncio.create_task(client.post(path, json={**BODY, "stream": stream}))
        await eventually(lambda: [record.chunks for record in extension.gateway.in_flight.values()] == [tokens])
        request.cancel()
        await eventually(lambda: records)
        (record,) = records
        assert (record.end, record.estimated, record.completion_tokens) == ("client left", True, tokens)
        assert await remaining(client, "tokens") == 1000 - tokens

    @pytest.mark.parametrize(("told", "counted"), [(10**400, 2**53), (-50, 0)], ids=["too many", "too few"])
    @pytest.mark.parametrize("stream", [True, False])
    async def test_counts_that_are_none_are_cut_and_in_the_usage(
        self, client, fake, records, told: int, counted: int, stream: bool
    ) -> None:
        usage = behave.event({"choices": [], "usage": {"prompt_tokens": told, "completion_tokens": 3}})
        fake.script = [behave.stream([*behave.chat_events(include_usage=False)[:-1], usage, behave.DONE])]
        assert (await client.post(PATH, json={**BODY, "stream": stream})).status_code == 200
        assert (records[0].prompt_tokens, records[0].completion_tokens) == (counted, 3)
        totals = (await client.get("/bodhi/v1/usage")).json()["totals"]
        assert (totals["prompt_tokens"], totals["completion_tokens"]) == (counted, 3)

    @pytest.mark.parametrize("told", ["7", 7.5, [7]], ids=str)
    @pytest.mark.parametrize("stream", [True, False])
    async def test_a_completion_whose_counts_are_no_numbers_is_answered_and_charged_by_its_events(
        self, client, fake, records, told: object, stream: bool
    ) -> None:
        usage = {"prompt_tokens": told, "completion_tokens": told}
        choices = [{"index": 0, "text": "Once", "finish_reason": reason} for reason in (None, None, "stop")]
        events = [behave.event({"choices": [choice]}) for choice in choices]
        fake.script = [behave.stream([*events, behave.event({"choices": [], "usage": usage}), behave.DONE])]
        answer = await client.post("/v1/completions", json={"model": "fake-model", "prompt": "Tell", "stream": stream})
        assert (answer.status_code, "error" in answer.text) == (200, False)
        (record,) = records
        assert (record.end, record.prompt_tokens, record.estimated) == ("finished", None, True)
        assert await remaining(client, "tokens") == 1000 - record.chunks

    async def test_a_stream_that_failed_is_charged_too(self, client, fake, records) -> None:
        fake.script = [behave.die_between_chunks(4)]
        await client.post(PATH, json={**BODY, "stream": True})
        assert (records[0].end, records[0].estimated) == ("failed", True)
        assert await remaining(client, "tokens") == 1000 - 4

    @pytest.mark.parametrize(
        ("path", "stream", "tokens"),
        [
            # The role, five words and the finish; of Ollama's lines the words alone.
            *((PATH, stream, 7) for stream in (True, False)),
            *(("/v1/completions", stream, 7) for stream in (True, False)),
            *(("/api/chat", stream, 5) for stream in (True, False)),
        ],
    )
    async def test_the_end_of_a_stream_is_no_event_of_the_engines(
        self, client, fake, records, path: str, stream: bool, tokens: int
    ) -> None:
        fake.script = [behave.stream([*behave.chat_events()[:-2], behave.DONE])]
        body = {"prompt": "hello"} if path == "/v1/completions" else {}
        assert (await client.post(path, json={**BODY, **body, "stream": stream})).status_code == 200
        assert (records[0].chunks, records[0].completion_tokens, records[0].estimated) == (tokens, tokens, True)

    async def test_the_last_token_came_with_the_last_event_before_the_end(
        self, client, fake, extension, records, eventually
    ) -> None:
        go_on = asyncio.Event()

        async def pausing(exchange) -> None:
            *events, done = behave.chat_events(include_usage=False)
            await exchange.send_stream_head()
            for event in events:
                await exchange.send_chunk(event)
            await go_on.wait()
            await exchange.send_chunk(done)
            await exchange.send_chunk(b"")

        fake.script = [pausing]
        request = asyncio.create_task(client.post(PATH, json={**BODY, "stream": True}))
        in_flight = extension.gateway.in_flight
        await eventually(lambda: [record.chunks for record in in_flight.values()] == [7])
        (last,) = [record.last_token_seconds for record in in_flight.values()]
        go_on.set()
        await request
        assert (records[0].chunks, records[0].last_token_seconds) == (7, last)

    @pytest.mark.parametrize(
        ("path", "body", "tokens"),
        [
            ("/v1/embeddings", {"input": ["x" * 40, "y"]}, 11),
            ("/v1/embeddings", {"input": [[1, 2, 3], [4, 5]]}, 5),
            ("/api/embed", {"input": ["x" * 40, "y"]}, 11),
            ("/v1/rerank", {"query": "x" * 8, "documents": ["y" * 12, "z"]}, 6),
        ],
    )
    async def test_vectors_of_a_server_that_tells_no_counts_are_charged_by_what_was_sent(
        self, client, fake, records, path: str, body: dict[str, Any], tokens: int
    ) -> None:
        data = [{"object": "embedding", "index": index, "embedding": [3.0, 4.0]} for index in range(2)]
        results = [{"index": index, "relevance_score": 0.5} for index in range(2)]
        fake.script = [behave.status(200, {"object": "list", "data": data, "results": results})]
        response = await client.post(path, json={"model": "fake-model", **body})
        assert response.status_code == 200, response.text
        assert (records[0].prompt_tokens, records[0].estimated) == (tokens, True)
        assert await remaining(client, "tokens") == 1000 - tokens

    async def test_one_that_never_ran_is_not(self, client, fake, records) -> None:
        fake.script = [behave.status(400)]
        assert (await client.post(PATH, json=BODY)).status_code == 400
        assert await remaining(client, "tokens") == 1000
        assert not records[0].estimated

    async def test_lines_that_no_model_made_are_no_tokens(self, client, records) -> None:
        made = await client.post("/api/create", json={"model": "mine", "from": "fake-model", "system": "Be brief."})
        assert made.text.count("\n") > 1
        assert (records[0].chunks > 1, records[0].estimated, records[0].tokens) == (True, False, 0)

    async def test_tools_with_logprobs_are_charged_though_they_do_not_stream(self, client) -> None:
        tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
        response = await client.post(PATH, json={**BODY, "tools": [tool], "logprobs": True})
        assert response.status_code == 200
        assert await remaining(client, "tokens") == 1000 - 35


class TestSpentTokens:
    @pytest.fixture
    def limits(self) -> dict[str, Any]:
        return {"alias": {"*": {"tokens_per_day": 30}}}

    async def test_the_next_request_is_refused_until_tomorrow(self, client, error_of) -> None:
        assert (await client.post(PATH, json=BODY)).status_code == 200
        response = await client.post(PATH, json=BODY)
        error = error_of(response)
        assert (response.status_code, error["type"], error["code"]) == (429, "tokens", "rate_limit_exceeded")
        assert "30 tokens per day for the model 'fake-model'" in error["message"]
        assert response.headers["x-should-retry"] == "false"
        assert int(response.headers["retry-after"]) > 80_000
