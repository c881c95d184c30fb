"""The Jupyter token in a header, known without Jupyter's own look: who gets in is the same, and no cookie is made."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_server.auth.identity import IdentityProvider, User
from traitlets.config import Config

MODELS, CHAT, CORE = "/v1/models", "/v1/chat/completions", "/api/me"
BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_no_cookie_is_set_and_all_requests_have_one_user(anonymous, token, caplog) -> None:
    for _ in range(2):
        answer = await anonymous.get(MODELS, headers=bearer(token))
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
    users = {message.split("user=")[1].split()[0] for message in caplog.messages if "user=" in message}
    assert len(users) == 1


@pytest.mark.parametrize(
    "key",
    ["{token}x", "x{token}", "x", "None", "bodhi-{token}", "\xe9{token}", "{token} {token}", "{token},x"],
)
async def test_nothing_else_is_the_token(anonymous, token, fake, key) -> None:
    headers = {"Authorization": f"Bearer {key.format(token=token)}".encode("latin-1")}
    for method, path in (("GET", MODELS), ("POST", CHAT)):
        answer = await anonymous.request(method, path, headers=headers, json=BODY if method == "POST" else None)
        assert answer.status_code == 401
    assert not fake.requests


@pytest.mark.parametrize("scheme", ["Basic", "Negotiate", "Bearers", ""])
async def test_other_schemes_are_not_read(anonymous, token, scheme) -> None:
    assert (await anonymous.get(MODELS, headers={"Authorization": f"{scheme} {token}".strip()})).status_code == 401


async def test_a_wrong_token_in_the_url_goes_first_as_ever(anonymous, token) -> None:
    for path, status in ((MODELS, 401), (CORE, 403)):
        assert (await anonymous.get(f"{path}?token=wrong", headers=bearer(token))).status_code == status
    assert (await anonymous.get(f"{MODELS}?token={token}")).status_code == 200


async def test_a_cookie_says_which_user_it_is(anonymous, token, caplog) -> None:
    me = (await anonymous.get(CORE, headers=bearer(token))).json()["identity"]["username"]
    assert anonymous.cookies
    await anonymous.get(MODELS, headers=bearer(token))
    assert f"user={me}" in caplog.text


async def test_a_host_name_that_is_not_ours_is_refused_with_the_token_too(anonymous, token, fake) -> None:
    headers = {**bearer(token), "Host": "evil.example"}
    assert (await anonymous.get(MODELS, headers=headers)).status_code == 403
    assert (await anonymous.post(CHAT, json=BODY, headers=headers)).status_code == 403
    assert not fake.requests


@pytest.mark.parametrize("path", [MODELS, CORE])
async def test_pages_of_other_origins_are_treated_as_by_jupyter(anonymous, token, path) -> None:
    answer = await anonymous.get(path, headers={**bearer(token), "Origin": "http://other.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://other.example"


class TestConfiguredOrigin:
    @pytest.fixture
    def jp_server_config(self, jp_server_config) -> Config:
        jp_server_config["ServerApp"]["allow_origin"] = "http://ours.example"
        return jp_server_config

    async def test_it_is_the_one_that_is_named(self, anonymous, token) -> None:
        answer = await anonymous.get(MODELS, headers={**bearer(token), "Origin": "http://other.example"})
        assert answer.headers["access-control-allow-origin"] == "http://ours.example"


async def test_a_server_without_a_token_is_jupyters_own_affair(anonymous, token, jp_serverapp) -> None:
    jp_serverapp.identity_provider.token = ""
    for key in (token, "x"):
        core = await anonymous.get(CORE, headers=bearer(key))
        assert (await anonymous.get(MODELS, headers=bearer(key))).status_code == core.status_code


class Strict(IdentityProvider):
    """Lets nobody in, whatever they bring."""

    def get_user(self, handler: Any) -> User | None:
        return None


class TestOwnProvider:
    @pytest.fixture
    def jp_server_config(self, jp_server_config) -> Config:
        jp_server_config["ServerApp"]["identity_provider_class"] = f"{Strict.__module__}.Strict"
        return jp_server_config

    async def test_a_provider_of_ones_own_decides_alone(self, anonymous, token) -> None:
        assert token
        assert (await anonymous.get(MODELS, headers=bearer(token))).status_code == 401


async def test_a_token_that_was_changed_opens_nothing_any_more(anonymous, token, jp_serverapp) -> None:
    assert (await anonymous.get(MODELS, headers=bearer(token))).status_code == 200
    jp_serverapp.identity_provider.token = "another-token"
    assert (await anonymous.get(MODELS, headers=bearer(token))).status_code == 401
    assert (await anonymous.get(MODELS, headers=bearer("another-token"))).status_code == 200
