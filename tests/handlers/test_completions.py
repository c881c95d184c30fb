"""``/v1/completions``: with a scripted backend, and with the engine behind it, as OpenAI's SDK sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI, BadRequestError

from tests.fakes import behaviours as behave
from tests.handlers.engines import KEY, running_engine

PATH = "/v1/completions"
BODY: dict[str, Any] = {"model": "fake-model", "prompt": "hello"}


def chunk(text: str = "", index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return behave.event(
        {"choices": [choice], "id": "c", "created": 1, "model": "m", "object": "text_completion", **more}
    )


FINE = [chunk("Once"), chunk(" more"), chunk(finish="stop"), behave.DONE]


class TestScripted:
    async def test_a_stream_passes_as_bytes_and_so_does_its_request(self, client, fake) -> None:
        fake.script = [behave.stream(FINE)]
        raw = b'{ "model":"fake-model","stream":true, "prompt":"\\u00e9", "grammar":"x" }'
        response = await client.post(PATH, content=raw)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.content == b"".join(FINE)
        assert int(fake.requests[-1].headers["content-length"]) == len(raw)

    async def test_a_whole_answer_is_put_together_from_a_stream(self, client, fake) -> None:
        fake.script = [behave.stream(FINE)]
        response = await client.post(PATH, json={**BODY, "echo": True})
        assert response.json()["choices"] == [
            {"text": "helloOnce more", "index": 0, "logprobs": None, "finish_reason": "stop"}
        ]
        assert response.json()["object"] == "text_completion"
        assert fake.requests[-1].body == {
            **BODY,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    async def test_a_bad_request_never_reaches_the_backend(self, client, fake, error_of) -> None:
        for body, param in (
            ({"model": "fake-model"}, "prompt"),
            ({**BODY, "n": 0}, "n"),
            ({**BODY, "echo": 1}, "echo"),
        ):
            response = await client.post(PATH, json=body)
            assert response.status_code == 400
            assert error_of(response)["param"] == param
        assert not [request for request in fake.requests if request.method == "POST"]

    @pytest.mark.parametrize(
        ("behaviour", "code"),
        [
            (behave.stream(FINE[:2]), "backend_failed"),
            (behave.stream([*FINE[:2], behave.DONE]), "backend_failed"),
            (behave.stream([*FINE[:2], behave.event({"error": {"code": 500, "message": "no"}})]), "backend_failed"),
            (behave.stream([*FINE[:1], b"data: {]\n\n"]), "backend_failed"),
        ],
        ids=["no finish", "done without finish", "error", "garbage"],
    )
    async def test_a_failure_is_never_a_success(self, client, fake, error_of, behaviour, code) -> None:
        fake.script = [behaviour, behaviour]
        whole = await client.post(PATH, json=BODY)
        assert (whole.status_code, error_of(whole)["code"]) == (502, code)
        streamed = await client.post(PATH, json={**BODY, "stream": True})
        last = streamed.text.strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == code
        assert "[DONE]" not in streamed.text

    @pytest.mark.parametrize("body", [BODY, {**BODY, "stream": True}], ids=["whole", "stream"])
    async def test_a_backend_without_the_route_is_501(self, client, fake, error_of, body) -> None:
        fake.script = [
            behave.status(404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
            behave.status(404, {"detail": "Not Found"}),
            behave.status(404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}),
        ]
        for status, kind in (
            (501, "not_supported_error"),
            (501, "not_supported_error"),
            (404, "invalid_request_error"),
        ):
            response = await client.post(PATH, json=body)
            assert (response.status_code, error_of(response)["type"]) == (status, kind)
            assert response.headers["x-should-retry"] == "false"

    async def test_a_suffix_without_infill_is_a_bad_suffix(self, client, fake, error_of) -> None:
        fake.script = [behave.status(404, {"detail": "Not Found"})]
        response = await client.post(PATH, json={**BODY, "suffix": "x"})
        assert (response.status_code, error_of(response)["param"]) == (400, "suffix")

    async def test_a_backend_that_cannot_be_read_on_tokens_cannot_echo_them(self, client, fake, error_of) -> None:
        fake.script = [behave.status(404, {"detail": "Not Found"}), behave.status(200, {"content": 5})]
        for status in (501, 502):
            response = await client.post(PATH, json={**BODY, "prompt": [1], "echo": True})
            assert response.status_code == status
            error_of(response)

    async def test_the_line_in_the_log_has_the_sums(self, client, fake, caplog) -> None:
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        ends = [chunk("", index, "stop", usage=usage) for index in (0, 1)]
        fake.script = [behave.stream([*ends, behave.DONE])] * 2
        for stream in (True, False):
            caplog.clear()
            await client.post(PATH, json={**BODY, "prompt": ["a", "b"], "stream": stream})
            assert "prompt_tokens=6 completion_tokens=8" in caplog.text

    async def test_a_client_that_leaves_closes_the_upstream_request(self, client, fake, eventually) -> None:
        fake.script = [behave.stall_before_first_event()]
        request = asyncio.create_task(client.post(PATH, json=BODY))
        await eventually(lambda: any(one.method == "POST" for one in fake.requests))
        request.cancel()
        await asyncio.wait_for(fake.client_left.wait(), 20)


class TestEngine:
    """One slot, as the box has it."""

    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def ask(self, sdk: AsyncOpenAI) -> Any:
        async def ask(**fields: Any) -> Any:
            defaults = {"model": "tiny-random", "prompt": "the sea", "max_tokens": 6, "temperature": 0}
            return await sdk.completions.create(**{**defaults, **fields})

        return ask

    async def test_streamed_and_not_say_the_same(self, ask) -> None:
        whole = await ask()
        assert whole.object == "text_completion"
        assert whole.usage.completion_tokens == 6
        chunks = [one async for one in await ask(stream=True, stream_options={"include_usage": True})]
        assert "".join(one.choices[0].text for one in chunks[:-1]) == whole.choices[0].text
        assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], whole.usage.prompt_tokens)
        assert [one.usage for one in chunks[:-1]] == [None] * (len(chunks) - 1)

    async def test_echo_of_texts_and_of_tokens(self, ask) -> None:
        plain = (await ask(prompt=["the sea", "a ship"])).choices
        echoed = (await ask(prompt=["the sea", "a ship"], echo=True)).choices
        assert [one.text for one in echoed] == ["the sea" + plain[0].text, "a ship" + plain[1].text]
        streamed = [one async for one in await ask(echo=True, stream=True)]
        assert "".join(one.choices[0].text for one in streamed) == echoed[0].text
        tokens = (await ask(prompt=[300, 301], echo=True)).choices[0].text
        assert tokens.endswith((await ask(prompt=[300, 301])).choices[0].text)
        assert len(tokens.split()) > 6
        assert (await ask(echo=True, max_tokens=0)).choices[0].text == "the sea"

    async def test_more_answers_than_the_engine_has_slots(self, ask) -> None:
        answer = await ask(n=3, best_of=5, temperature=1.5, prompt=["the sea", "a ship"])
        assert [one.index for one in answer.choices] == list(range(6))
        assert len({one.text for one in answer.choices[:3]}) > 1
        alone = await ask(prompt=["the sea"])
        assert answer.usage.prompt_tokens < 3 * alone.usage.prompt_tokens + 6
        assert answer.usage.completion_tokens >= 6
        seen = {one.choices[0].index async for one in await ask(n=3, stream=True)}
        assert seen == {0, 1, 2}

    async def test_with_a_seed_there_are_as_many_as_slots(self, ask) -> None:
        with pytest.raises(BadRequestError) as caught:
            await ask(n=2, seed=1)
        assert caught.value.param == "n"
        assert "Without 'seed'" in caught.value.message

    async def test_log_probabilities(self, ask) -> None:
        none_asked, some = (await ask(logprobs=0)).choices[0], (await ask(logprobs=3)).choices[0]
        assert "".join(some.logprobs.tokens) == some.text == none_asked.text
        assert [len(one) for one in some.logprobs.top_logprobs] == [3] * 6
        assert [set(one) for one in none_asked.logprobs.top_logprobs] == [{one} for one in some.logprobs.tokens]
        for token, start, logprob, top in zip(
            some.logprobs.tokens,
            some.logprobs.text_offset,
            some.logprobs.token_logprobs,
            some.logprobs.top_logprobs,
            strict=True,
        ):
            assert some.text[start:].startswith(token)
            assert top[token] == logprob == max(top.values()) < 0
        chunks = [one.choices[0].logprobs async for one in await ask(logprobs=3, stream=True)]
        assert [offset for one in chunks if one for offset in one.text_offset] == some.logprobs.text_offset

    async def test_refusals_name_the_prompt(self, ask) -> None:
        with pytest.raises(BadRequestError) as caught:
            await ask(prompt="hello " * 5000)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
        assert "your prompt resulted in 15004 tokens" in caught.value.message
        assert "4096" in caught.value.message
        with pytest.raises(BadRequestError) as caught:
            await ask(prompt=[99999])
        assert caught.value.param == "prompt"

    async def test_a_suffix_is_refused_by_a_model_without_a_middle(self, ask) -> None:
        with pytest.raises(BadRequestError) as caught:
            await ask(suffix="the end")
        assert caught.value.param == "suffix"

    async def test_a_client_that_leaves_stops_the_generation(self, ask, extension) -> None:
        await ask()
        request = asyncio.create_task(ask(max_tokens=3500, extra_body={"ignore_eos": True}))
        await until_busy(extension, 1)
        request.cancel()
        await until_busy(extension, 0)

    async def test_a_stream_that_fails_raises(self, ask, extension) -> None:
        await ask()
        stream = await ask(max_tokens=3500, stream=True, extra_body={"ignore_eos": True})
        os.kill(extension.gateway.backends["local"].states()["tiny-random"].pid, signal.SIGKILL)
        with pytest.raises(APIError) as caught:
            async for _ in stream:
                pass
        assert caught.value.code == "backend_failed"


async def until_busy(extension: Any, wanted: int) -> None:
    gateway = extension.gateway
    alias = await gateway.catalog.resolve("tiny-random")
    async with asyncio.timeout(20):
        while True:
            async with (
                gateway.backends["local"].lease(alias) as lease,
                gateway.upstream.get(lease.address, "/slots", backend="local") as answer,
            ):
                if sum(slot["is_processing"] for slot in json.loads(await answer.read())) == wanted:
                    return
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def infilling_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_engine(tmp_path_factory.mktemp("engine"), infills=True, n_parallel=2) as url:
        yield url


class TestInfill:
    @pytest.fixture
    def bodhi_config(self, infilling_url: str) -> dict[str, Any]:
        return {"backend_url": infilling_url, "backend_api_key": KEY}

    async def ask(self, client: Any, **fields: Any) -> Any:
        body = {"model": "tiny", "prompt": "def f(", "suffix": "return x", "max_tokens": 6, "temperature": 0, **fields}
        return await client.post(PATH, json=body)

    async def test_the_suffix_matters(self, client) -> None:
        answer = (await self.ask(client)).json()
        (choice,) = answer["choices"]
        assert (answer["object"], answer["model"], choice["finish_reason"]) == ("text_completion", "tiny", "length")
        assert len(choice["text"].split()) >= 3
        assert answer["usage"]["completion_tokens"] == 6
        assert choice["text"] != (await self.ask(client, suffix=None)).json()["choices"][0]["text"]
        assert (await self.ask(client)).json()["choices"] == answer["choices"]

    async def test_streamed_and_not_say_the_same(self, client) -> None:
        (whole,) = (await self.ask(client, echo=True)).json()["choices"]
        (same,) = (await self.ask(client, logprobs=2)).json()["choices"]
        assert whole["text"] == "def f(" + same["text"]
        assert "".join(same["logprobs"]["tokens"]) == same["text"]
        response = await self.ask(client, echo=True, stream=True)
        chunks = [json.loads(one[6:]) for one in response.text.split("\n\n") if one.startswith("data: {")]
        assert "".join(one["choices"][0]["text"] for one in chunks) == whole["text"]
        assert response.text.endswith("data: [DONE]\n\n")

    async def test_several_answers(self, client, error_of) -> None:
        choices = (await self.ask(client, n=2, seed=1, temperature=1.5)).json()["choices"]
        assert [one["index"] for one in choices] == [0, 1]
        refused = await self.ask(client, n=3)
        assert (refused.status_code, error_of(refused)["param"]) == (400, "n")

    async def test_what_the_engine_would_cut_is_refused(self, client, error_of) -> None:
        for field in ("prompt", "suffix"):
            response = await self.ask(client, **{field: "hello " * 2000})
            error = error_of(response)
            assert (response.status_code, error["param"], error["code"]) == (400, field, "context_length_exceeded")
