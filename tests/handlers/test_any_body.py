"""Whatever is posted to a route below ``/v1``: a good answer, or an error of the caller's in the route's own shape."""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado import web

from bodhi_jupyter.routes import ROUTES
from tests.fakes import behaviours as behave
from tests.fakes.bodies import GOOD, bodies, dump
from tests.fakes.llama import Exchange
from tests.handlers.conftest import error

EXAMPLES = 150
#: Handlers that refuse whatever they are sent.
REFUSING = {"HostedRouteHandler", "CancelledResponseHandler"}


# -- a backend that answers whatever it is asked -----------------------------------------------------------------------


def number_of_answers(body: dict[str, Any]) -> int:
    prompts = body.get("prompt", "")
    several = isinstance(prompts, list) and prompts and not isinstance(prompts[0], int)
    return (body.get("n") or 1) * (len(prompts) if several else 1)


async def chat(exchange: Exchange) -> None:
    # Cut off, as a text that nobody made up would not fit a strict schema.
    count = number_of_answers(exchange.request.body)
    if not exchange.request.streams:
        message = {"role": "assistant", "content": "hm"}
        choices = [{"index": index, "finish_reason": "length", "message": message} for index in range(count)]
        await exchange.send_json(200, {**behave.chat_answer(), "choices": choices})
        return
    choices = [{"index": index, "finish_reason": "length", "delta": {"content": "hm"}} for index in range(count)]
    await behave.stream([behave.event({"choices": [one], "id": "c"}) for one in choices] + [behave.DONE])(exchange)


async def completion(exchange: Exchange) -> None:
    count = number_of_answers(exchange.request.body)
    choices = [{"index": index, "finish_reason": "stop", "text": "hm"} for index in range(count)]
    await behave.stream([behave.event({"choices": [one], "id": "c"}) for one in choices] + [behave.DONE])(exchange)


async def embedding(exchange: Exchange) -> None:
    vector = base64.b64encode(b"\0\0\x80\x3f" * 4).decode()
    data = [{"index": index, "embedding": vector} for index in range(len(exchange.request.body["input"]))]
    await exchange.send_json(200, {"object": "list", "data": data, "usage": {"prompt_tokens": 1}})


async def response(exchange: Exchange) -> None:
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": [], "status": "in_progress"}
    # As many tokens as the model can give: cut off, see above.
    usage = {"input_tokens": 1, "output_tokens": 2**31}
    await named(
        {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
        {"type": "response.output_item.added", "item": message},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "hm"},
        {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
    )(exchange)


async def message(exchange: Exchange) -> None:
    await named(
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hm"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )(exchange)


def named(*events: dict[str, Any]) -> behave.Behaviour:
    return behave.stream([b"event: " + one["type"].encode() + b"\n" + behave.event(one) for one in events])


ANSWERS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/embeddings": embedding,
    "/v1/responses": response,
    "/v1/messages": message,
    "/v1/rerank": behave.status(200, {"results": [{"index": 0, "relevance_score": 0.5}]}),
    "/infill": behave.status(501, {"error": {"code": 501, "message": "no", "type": "not_supported_error"}}),
    "/detokenize": behave.status(200, {"content": "hm"}),
}


async def anything(exchange: Exchange) -> None:
    """What the engine would answer, were it as patient; counts and the like where nothing else is known."""
    answer = ANSWERS.get(exchange.request.path, behave.status(200, {"input_tokens": 3}))
    await answer(exchange)


# -- the property ------------------------------------------------------------------------------------------------------


def test_there_is_a_good_body_for_every_route() -> None:
    taking = [
        (pattern, handler.__name__)
        for pattern, handler, *_ in ROUTES
        if pattern.startswith("/v1") and handler.post is not web.RequestHandler.post
    ]
    lacking = {name for pattern, name in taking if not any(re.fullmatch(pattern, path) for path in GOOD)}
    assert lacking == REFUSING


def test_every_good_body_is_answered(client, fake, jp_asyncio_loop) -> None:
    fake.behave(anything)
    for path, body in GOOD.items():
        answer = jp_asyncio_loop.run_until_complete(client.post(path, json=body))
        assert answer.status_code == 200, (path, answer.text)


def test_any_body_is_answered_or_is_the_callers_fault(client, fake, jp_asyncio_loop) -> None:
    fake.behave(anything)
    statuses: Counter[int] = Counter()

    @given(st.sampled_from(sorted(GOOD)).flatmap(lambda path: st.tuples(st.just(path), bodies(path))))
    @example(("/v1/chat/completions", dump({**GOOD["/v1/chat/completions"], "x": 10**400})))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize="CI" in os.environ)
    def check(case: tuple[str, bytes]) -> None:
        path, body = case
        answer = jp_asyncio_loop.run_until_complete(client.post(path, content=body))
        statuses[answer.status_code] += 1
        if answer.status_code == 200:
            is_good(answer)
        else:
            assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
            assert answer.headers["x-should-retry"] == "false"
            if path.startswith("/v1/messages"):
                is_anthropics(answer)
            else:
                error(answer)

    check()
    # Neither all good nor all bad: else the bodies are not worth much.
    assert min(statuses[200], statuses[400]) > EXAMPLES / 10, statuses


def is_good(answer: httpx.Response) -> None:
    """A document, or a stream that ended in success."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert b'{"error"' not in answer.content
        last = answer.content.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        assert last == b"data: [DONE]" or last.startswith((b"event: message_stop\n", b"event: response."))
        assert not last.startswith(b"event: response.failed")
    else:
        assert isinstance(answer.json(), dict)


def is_anthropics(answer: httpx.Response) -> None:
    body = answer.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    assert all(isinstance(one, str) and one for one in body["error"].values())
