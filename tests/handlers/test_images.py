"""Images by URL in chats: refused by default, fetched by the gateway where the configuration says so."""

from collections.abc import Sequence
from typing import Any

import pytest

from bodhi_jupyter.backends.images import NamedImage

PATH = "/v1/chat/completions"


def body(url: str) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return {"model": "fake-model", "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, part]}]}


async def test_by_default_none_is_fetched_by_anybody(client, fake, error_of) -> None:
    response = await client.post(PATH, json=body("http://pictures.example/a.png"))
    assert response.status_code == 400
    assert error_of(response)["param"].startswith("messages[0].content[1]")
    assert not [request for request in fake.requests if request.method == "POST"]


class TestAllowed:
    @pytest.fixture
    def bodhi_config(self, bodhi_config) -> dict[str, Any]:
        return {**bodhi_config, "image_hosts": ["pictures.example", "localhost"]}

    @pytest.mark.parametrize("path", [PATH, f"{PATH}/input_tokens"])
    async def test_the_backend_gets_the_image_and_not_its_address(self, client, fake, monkeypatch, path) -> None:
        async def fetch(self: object, images: Sequence[NamedImage]) -> list[str]:
            assert images == [("messages[0].content[1].image_url.url", "http://pictures.example/a.png")]
            return ["data:image/png;base64,AAAA"]

        monkeypatch.setattr("bodhi_jupyter.backends.images.ImageFetcher.fetch", fetch)
        response = await client.post(path, json=body("http://pictures.example/a.png"))
        assert response.status_code == 200, response.text
        sent = fake.requests[-1].body["messages"][0]["content"][1]
        assert sent == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

    async def test_a_host_that_is_not_on_the_list_is_refused(self, client, fake, error_of) -> None:
        response = await client.post(PATH, json=body("http://other.example/a.png"))
        assert response.status_code == 400

    @pytest.mark.parametrize("rest", [":99999/a.png", "/\n"])
    async def test_what_is_no_url_is_the_callers_mistake(self, client, fake, error_of, rest) -> None:
        response = await client.post(PATH, json=body(f"http://pictures.example{rest}"))
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["param"]) == ("invalid_image_url", "messages[0].content[1].image_url.url")

    async def test_an_allowed_name_at_a_private_address_is_refused(self, client, fake, error_of) -> None:
        response = await client.post(PATH, json=body("http://localhost/a.png"))
        assert response.status_code == 400
        assert "no public address" in error_of(response)["message"]
        assert not [request for request in fake.requests if request.method == "POST"]
