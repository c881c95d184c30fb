"""The engine that we ship, alone: what it is asked, and its streams through a guard."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bodhi_jupyter.wire.assemble import Assembler
from bodhi_jupyter.wire.guard_events import EventGuard
from bodhi_jupyter.wire.sse import iter_events
from tests.tiny_random import write_tiny_random

ENGINE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.chat_template = sys.argv[1:]
params.port, params.n_ctx, params.n_parallel, params.cache_ram_mib = 0, 4096, 2, 0
params.cpuparams.n_threads = 1
params.warmup = params.ui = False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
# A template with tags for thoughts and calls: from it the engine derives how to read them in an answer.
TEMPLATE = """\
{%- if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>
{% endif %}
{%- for message in messages -%}
<{{ message.role }}>
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}</s>
{% endfor %}
{%- if add_generation_prompt %}<assistant>
{% if enable_thinking %}<think>
{% endif %}{% endif %}"""


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


WEATHER = tool("weather", city={"type": "string", "enum": ["Oslo", "Rome"]}, unit={"enum": ["C", "F"]})
TIME = tool("time", zone={"enum": ["CET"]})
#: Random weights would never begin a call: the beginning is given, and the grammar of the tools does the rest.
BEGUN_CALL = "<tool_call>\n{"
CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}


@contextmanager
def running_engine(folder: Path) -> Iterator[httpx.Client]:
    model = folder / "tiny.gguf"
    write_tiny_random(model)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(model), TEMPLATE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as child,
    ):
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), (folder / "log").read_text()
        # Measured: the engine closes the connection behind every stream, whatever its Keep-Alive header says.
        headers = {"Connection": "close"}
        with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
            yield client
        # The context of Popen closes the child's stdin, which ends it, and waits.


def event(data: dict[str, Any]) -> bytes:
    """As llama.cpp spells it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {data['type']}\ndata: {text}\n\n".encode()


def through(guard: EventGuard, *chunks: bytes) -> list[dict[str, Any]]:
    """All that is sent on, the terminal event included, parsed and its names checked."""
    passed = b"".join(guard.feed(chunk) for chunk in chunks) + guard.end()
    found = [one for one in iter_events(passed) if one.data is not None]
    parsed = [json.loads(one.data or b"") for one in found]
    assert [one.name for one in found] == [data["type"] for data in parsed]
    return parsed


def assembled(events: list[dict[str, Any]], assembler: Assembler) -> dict[str, Any]:
    for one in events:
        assembler.add(one)
    return assembler.result()
