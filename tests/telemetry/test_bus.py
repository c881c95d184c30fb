"""What is told on Jupyter's event bus: valid by its schema, and of every load, unload and failure."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError
from jupyter_events import EventLogger

from bodhi_jupyter.telemetry.bus import LIMIT, MODEL, REQUEST, EventBus
from tests.telemetry.records import record
from tests.tiny_random import write_tiny_random


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self, event_logger: EventLogger) -> None:
        self.events: list[dict[str, Any]] = []
        event_logger.add_listener(schema_id=MODEL, listener=self._hear)

    async def _hear(self, logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        assert schema_id == MODEL
        self.events.append(data)

    @property
    def actions(self) -> list[tuple[str, str]]:
        return [(event["action"], event["alias"]) for event in self.events]


def run(test: Callable[[EventBus, Heard], None]) -> list[dict[str, Any]]:
    """What a listener hears of what `test` tells."""

    async def main() -> list[dict[str, Any]]:
        event_logger = EventLogger()
        bus, heard = EventBus(event_logger), Heard(event_logger)
        test(bus, heard)
        await event_logger.gather_listeners()
        return heard.events

    return asyncio.run(main())


def test_each_kind_is_valid_and_says_no_more_than_is_known() -> None:
    def tell(bus: EventBus, _: Heard) -> None:
        bus.model_changed("loaded", "org/m:1", seconds=1.5)
        bus.model_changed("unloaded", "org/m:1", reason="idle")
        bus.model_changed("failed", "org/m:1", reason="it is no model")

    assert run(tell) == [
        {"action": "loaded", "alias": "org/m:1", "seconds": 1.5},
        {"action": "unloaded", "alias": "org/m:1", "reason": "idle"},
        {"action": "failed", "alias": "org/m:1", "reason": "it is no model"},
    ]


def test_what_the_schema_does_not_know_is_refused() -> None:
    def tell(bus: EventBus, _: Heard) -> None:
        with pytest.raises(ValidationError):
            bus.model_changed("exploded", "m")
        with pytest.raises(ValidationError):
            bus.model_changed("loaded", "m", seconds="long")  # type: ignore[arg-type]

    assert run(tell) == []


def test_without_a_listener_nothing_happens() -> None:
    EventBus(EventLogger()).model_changed("loaded", "m", seconds=1.0)


def heard_of(schema: str, test: Callable[[EventBus], None]) -> list[dict[str, Any]]:
    """What a listener of another schema hears."""
    events: list[dict[str, Any]] = []

    async def hear(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        events.append(data)

    async def main() -> None:
        event_logger = EventLogger()
        bus = EventBus(event_logger)
        event_logger.add_listener(schema_id=schema, listener=hear)
        test(bus)
        await event_logger.gather_listeners()

    asyncio.run(main())
    return events


def test_a_request_that_is_over_is_told_of_and_who_asked_is_not() -> None:
    def tell(bus: EventBus) -> None:
        bus.record(record(request_id="req_1", kernel="k1"))
        bus.record(record(request_id="req_2", status=200, end="client left", alias=None, first_token_seconds=0.5))
        bus.record(record(request_id="req_3", status=400, end="failed", error="invalid_value", field="model"))
        bus.record(record(dialect="bodhi"))

    first, second, third = heard_of(REQUEST, tell)
    assert first == {
        "request_id": "req_1",
        "dialect": "openai",
        "endpoint": "POST /v1/chat/completions",
        "alias": "tutor",
        "client": "openai-python",
        "status": 200,
        "end": "finished",
        "seconds": 1.0,
        "prompt_tokens": 30,
        "completion_tokens": 5,
    }
    assert (second["end"], second["first_token_seconds"]) == ("client left", 0.5)
    assert (third["error"], third["field"]) == ("invalid_value", "model")


def test_a_limit_that_is_reached_is_told_of() -> None:
    def tell(bus: EventBus) -> None:
        bus.limit_reached("requests per minute", person="ann", alias="tutor", retry_after=3.5)

    assert heard_of(LIMIT, tell) == [
        {"limit": "requests per minute", "person": "ann", "alias": "tutor", "retry_after": 3.5},
    ]


class TestServer:
    @pytest.fixture
    def models_folder(self, jp_data_dir: Path) -> Path:
        folder = jp_data_dir / "bodhi" / "models"
        folder.mkdir(parents=True)
        write_tiny_random(folder / "mini.gguf", seed=1)
        (folder / "junk.gguf").write_bytes(b"this is no model" * 100)
        return folder

    @pytest.fixture
    def heard(self, models_folder: Path, extension: Any) -> Heard:
        return Heard(extension.serverapp.event_logger)

    async def test_a_load_and_an_unload(self, client, heard, eventually) -> None:
        assert (await client.post("/bodhi/v1/models/mini/load")).status_code == 200
        await eventually(lambda: heard.actions == [("loaded", "mini")])
        assert 0 < heard.events[0]["seconds"] < 100
        await client.post("/bodhi/v1/models/mini/load")  # it is loaded: no news
        await client.post("/bodhi/v1/models/mini/unload")
        await eventually(lambda: heard.actions == [("loaded", "mini"), ("unloaded", "mini")])
        assert heard.events[1]["reason"]

    async def test_a_load_that_fails(self, client, heard, eventually, models_folder) -> None:
        assert (await client.post("/bodhi/v1/models/junk/load")).status_code == 503
        await eventually(lambda: heard.actions == [("failed", "junk")])
        reason = heard.events[0]["reason"]
        assert "invalid magic" in reason
        assert str(models_folder) not in reason

    async def test_an_engine_that_dies(self, client, extension, heard, eventually) -> None:
        await client.post("/bodhi/v1/models/mini/load")
        os.kill(extension.gateway.pool.states()["mini"].pid, signal.SIGTERM)
        await eventually(lambda: heard.actions == [("loaded", "mini"), ("failed", "mini")])
        assert "ended unexpectedly" in heard.events[1]["reason"]

    async def test_keep_alive_and_a_deleted_alias(self, client, heard, eventually) -> None:
        brief = {"alias": "brief", "path": "mini.gguf", "keep_alive": 0}
        await client.post("/bodhi/v1/aliases", json=brief)
        await client.post("/bodhi/v1/models/brief/load")
        await eventually(lambda: heard.actions == [("loaded", "brief"), ("unloaded", "brief")])
        assert heard.events[1]["reason"] == "idle"
        await client.put("/bodhi/v1/aliases/brief", json=brief | {"keep_alive": -1})
        await client.post("/bodhi/v1/models/brief/load")
        await client.delete("/bodhi/v1/aliases/brief")
        await eventually(lambda: heard.actions[2:] == [("loaded", "brief"), ("unloaded", "brief")])
        assert heard.events[3]["reason"] == "the alias is gone"

    async def test_the_log_says_it_too(self, client, heard, caplog, eventually) -> None:
        await client.post("/bodhi/v1/models/mini/load")
        await client.post("/bodhi/v1/models/junk/load")
        assert "model='mini' loaded" in caplog.text
        assert "model='junk' failed: " in caplog.text

    async def test_a_subscriber_of_the_server_is_told(self, client, heard, jp_ws_fetch) -> None:
        subscriber = await jp_ws_fetch("api", "events", "subscribe")
        try:
            await client.post("/bodhi/v1/models/mini/load")
            event = json.loads(await asyncio.wait_for(subscriber.read_message(), 20))
            while event["schema_id"] != MODEL:  # what else Jupyter tells
                event = json.loads(await asyncio.wait_for(subscriber.read_message(), 20))
            assert (event["action"], event["alias"]) == ("loaded", "mini")
        finally:
            subscriber.close()
