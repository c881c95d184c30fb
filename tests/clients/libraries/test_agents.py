"""Libraries that make agents of models; they want a newer SDK of OpenAI's than others do."""

from __future__ import annotations

from tests.clients.libraries.asking import CITIES, ask, needs


@needs("agents")
def test_openai_agents(kernel) -> None:
    told = ask(kernel, "openai_agents")
    assert told["error"].partition(":")[0].endswith("NotFoundError")
    assert told["streamed_tokens"] >= len(told["pieces"])
    assert told["structured"] in CITIES
    assert told["called"] == ["Oslo"]
    assert told["after"].strip()


@needs("pydantic_ai")
def test_pydantic_ai(kernel) -> None:
    told = ask(kernel, "pydantic_ai")
    assert told["error"].partition(":")[0].endswith("ModelNotFoundError")
    assert 1 <= told["streamed_tokens"] <= 8
    assert told["structured"] in CITIES
    assert told["after"].strip()
