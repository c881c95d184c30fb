"""Requests of ``/v1/messages``, checked and made the engine's."""

from __future__ import annotations

import json
from typing import Any

from bodhi_jupyter.wire.anthropic import MessagesRequest
from bodhi_jupyter.wire.anthropic_outgoing import refuse_unsupported, to_engine
from bodhi_jupyter.wire.validation import parse_request
from tests.wire.native import CITY

Body = dict[str, Any]
HI = [{"role": "user", "content": "hi"}]
BODY: Body = {"model": "m", "max_tokens": 9, "messages": HI}
WEATHER = {"name": "weather", "description": "w", "input_schema": CITY}
TIME = {"name": "time", "description": "t", "input_schema": CITY}


def checked(body: Body) -> MessagesRequest:
    request = parse_request(MessagesRequest, json.dumps(body).encode())
    refuse_unsupported(request)
    return request


def sent(body: Body) -> Body:
    return to_engine(body, checked(body))
