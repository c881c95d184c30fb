"""More answers than the server has slots: asked for apart, told as one."""

import asyncio
import json
from typing import Any

import pytest

from bodhi_jupyter.handlers import fanout
from tests.fakes import behaviours as behave

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}], "n": 3}


def refusal(slots: int) -> behave.Behaviour:
    message = f"Field 'n': Value must be between 1 <= value <= {slots}"
    return behave.status(400, {"error": {"code": 400, "message": message}})


REFUSAL = refusal(1)


def chunks(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


async def test_a_whole_answer_has_all_choices_and_the_usage_of_all(client, fake) -> None:
    fake.script = [REFUSAL, behave.ok("one"), behave.ok("two"), behave.ok("three")]
    answer = (await client.post(PATH, json=BODY)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in answer["choices"]} == {"one", "two", "three"}
    tokens = {"prompt_tokens": 30, "completion_tokens": 15, "total_tokens": 45}
    assert answer["usage"] == {**tokens, "prompt_tokens_details": {"cached_tokens": 0}}
    assert [request.body.get("n") for request in fake.requests if request.path == PATH] == [3, None, None, None]


async def test_a_stream_is_one_stream(client, fake) -> None:
    fake.script = [REFUSAL, behave.ok("a", "b"), behave.ok("a", "b"), behave.ok("a", "b")]
    response = await client.post(PATH, json={**BODY, "stream": True, "stream_options": {"include_usage": True}})
    assert response.text.count("data: [DONE]") == 1
    assert response.text.endswith("data: [DONE]\n\n")
    received = chunks(response.text)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in received}) == 1
    for index in range(3):
        own = [chunk["choices"][0] for chunk in received if chunk["choices"] and chunk["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content") or "" for choice in own) == "ab"
        assert [choice["finish_reason"] for choice in own][-1] == "stop"
    assert received[-1]["usage"]["completion_tokens"] == 15
    assert [chunk for chunk in received if chunk.get("usage")] == received[-1:]


async def test_without_include_usage_there_is_none(client, fake) -> None:
    fake.script = [REFUSAL]
    response = await client.post(PATH, json={**BODY, "stream": True})
    received = chunks(response.text)
    assert {chunk["choices"][0]["index"] for chunk in received} == {0, 1, 2}
    assert all("usage" not in chunk for chunk in received)


async def test_equal_seeds_would_give_equal_answers(client, fake) -> None:
    fake.script = [REFUSAL]
    await client.post(PATH, json={**BODY, "seed": 7})
    asked = [request.body for request in fake.requests if request.path == PATH][1:]
    assert sorted(body["seed"] for body in asked) == [7, 8, 9]


@pytest.mark.parametrize(
    ("seed", "asked"), [(-1, [2**32 - 1] * 3), (2**32 - 1, [2**32 - 1] * 3), (2**32 - 3, [0, 2**32 - 3, 2**32 - 2])]
)
async def test_a_seed_for_any_stays_that_and_no_other_becomes_it(client, fake, seed, asked) -> None:
    fake.script = [REFUSAL]
    await client.post(PATH, json={**BODY, "seed": seed})
    assert sorted(request.body["seed"] for request in fake.requests[-3:]) == asked


async def test_a_defect_of_ours_is_not_the_servers(client, fake, monkeypatch, error_of) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a defect")

    fake.script = [REFUSAL]
    monkeypatch.setattr(fanout, "StreamGuard", broken)
    response = await client.post(PATH, json=BODY)
    assert (response.status_code, error_of(response)["code"]) == (500, "internal_error")


async def test_llama_cpps_own_name_for_the_number_counts_as_well(client, fake) -> None:
    body = {**{key: value for key, value in BODY.items() if key != "n"}, "n_cmpl": 2}
    fake.script = [REFUSAL, behave.ok("one"), behave.ok("two")]
    answer = (await client.post(PATH, json=body)).json()
    assert {choice["message"]["content"] for choice in answer["choices"]} == {"one", "two"}
    asked = [request.body for request in fake.requests if request.path == PATH]
    assert [(one.get("n"), one.get("n_cmpl")) for one in asked] == [(None, 2), (None, None), (None, None)]


async def test_half_of_the_answers_under_its_own_name_is_no_success(client, fake) -> None:
    (first, last) = ({"delta": {"content": "x"}, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"})
    told = [{"index": 1, **first}, {"index": 0, **first}, {"index": 0, **last}]
    fake.script = [behave.stream([behave.event({"choices": [choice]}) for choice in told])]
    body = {**{key: value for key, value in BODY.items() if key != "n"}, "n_cmpl": 2, "stream": True}
    text = (await client.post(PATH, json=body)).text
    assert "[DONE]" not in text
    assert set(chunks(text)[-1]) == {"error"}


async def test_one_that_fails_fails_the_whole(client, fake, error_of) -> None:
    fake.script = [REFUSAL, behave.ok("one"), behave.die_mid_chunk(), behave.ok("three")]
    response = await client.post(PATH, json=BODY)
    assert response.status_code == 502
    assert error_of(response)["code"] == "backend_failed"
    fake.script = [REFUSAL, behave.ok("one"), behave.die_mid_chunk(), behave.ok("three")]
    response = await client.post(PATH, json={**BODY, "stream": True})
    assert "[DONE]" not in response.text
    assert set(chunks(response.text)[-1]) == {"error"}


class TestLeaving:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "read_timeout": 600.0}

    async def test_a_client_that_leaves_stops_all_of_them(self, client, fake, extension, eventually) -> None:
        fake.script = [refusal(2)]
        fake.behave(behave.stall_mid_stream())
        request = asyncio.create_task(client.post(PATH, json={**BODY, "stream": True}))
        await eventually(lambda: len([request for request in fake.requests if request.path == PATH]) == 3)
        request.cancel()
        await eventually(lambda: not extension.gateway.in_flight)
        await asyncio.wait_for(fake.client_left.wait(), 20)


class TestMoreAnswersThanSlots:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "read_timeout": 1.0}

    @pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 2), (9, 4)])
    async def test_none_waits_for_another_one_of_them(self, client, fake, slots, most) -> None:
        """It would look silent meanwhile."""
        answering = 0
        counts: list[int] = []

        async def counted(request: Any) -> Any:
            nonlocal answering
            answering += 1
            counts.append(answering)
            await asyncio.sleep(0.05)
            try:
                return await behave.ok("x")(request)
            finally:
                answering -= 1

        fake.script = [refusal(slots)]
        fake.behave(counted)
        answer = await client.post(PATH, json={**BODY, "n": 6})
        assert len(answer.json()["choices"]) == 6
        assert max(counts) == most


async def test_another_refusal_is_not_tried_again(client, fake, error_of) -> None:
    fake.script = [behave.status(400, {"error": {"code": 400, "message": "Field 'top_k': no"}})]
    assert error_of(await client.post(PATH, json=BODY))["param"] == "top_k"
    assert len([request for request in fake.requests if request.path == PATH]) == 1


class TestRealEngine:
    @pytest.fixture
    def bodhi_config(self) -> dict[str, Any]:
        return {}

    async def test_six_answers_from_one_slot(self, client, extension) -> None:
        body = {
            **BODY,
            "model": "tiny-random",
            "n": 6,
            "max_tokens": 8,
            "seed": 1,
            "temperature": 1,
            "ignore_eos": True,
        }
        answer = (await client.post(PATH, json=body)).json()
        assert [choice["index"] for choice in answer["choices"]] == list(range(6))
        assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1
        assert answer["usage"]["completion_tokens"] == 48
        response = await client.post(PATH, json={**body, "stream": True})
        texts = dict.fromkeys(range(6), "")
        for chunk in chunks(response.text):
            texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["delta"].get("content") or ""
        assert [texts[choice["index"]] for choice in answer["choices"]] == [
            choice["message"]["content"] for choice in answer["choices"]
        ]
