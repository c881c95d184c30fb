"""Who may call, with what, and what a refusal looks like."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from traitlets.config import Config

from bodhi_jupyter.handlers.base import GatewayHandler
from bodhi_jupyter.routes import KEYED_ROUTES, ROUTES

BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_route_is_one_of_ours_and_none_is_a_catch_all_of_api() -> None:
    assert all(issubclass(route[1], GatewayHandler) for route in ROUTES)
    open_ended = [route[0] for route in ROUTES if route[0].startswith("/api") and "(" in route[0]]
    # Below a name that is Ollama's alone.
    assert open_ended == ["/api/blobs/([^/]+)"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/x"),
        ("POST", PATH),
        ("GET", "/v1/nope"),
        ("DELETE", "/v1/models"),
        ("GET", "/bodhi/health"),
        ("POST", "/bodhi/v1/keys"),
    ],
)
async def test_no_route_is_public(anonymous, error_of, fake, method, path) -> None:
    response = await anonymous.request(method, path, json={} if method == "POST" else None)
    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"
    assert response.headers["x-should-retry"] == "false"
    assert not fake.requests


@pytest.mark.parametrize(
    ("method", "path", "envelope"),
    [
        ("GET", "/v1/models", {"type": "invalid_request_error", "code": "invalid_api_key", "param": None}),
        ("GET", "/api/tags", {}),
        ("POST", "/v1/messages", {"type": "authentication_error"}),
    ],
)
async def test_without_a_key_every_dialect_says_where_one_comes_from(anonymous, method, path, envelope) -> None:
    response = await anonymous.request(method, path, json={} if method == "POST" else None)
    assert response.status_code == 401
    error = response.json()["error"]
    message = error if isinstance(error, str) else error.pop("message")
    assert message.startswith("No key was sent. In a notebook, restart the kernel")
    assert '`eval "$(jupyter bodhi env)"`' in message
    assert "`jupyter bodhi key create`" in message
    assert envelope == ({} if isinstance(error, str) else error)


async def test_a_wrong_key_says_what_would_be_right(anonymous, error_of) -> None:
    response = await anonymous.get("/v1/models", headers=bearer("nonsense"))
    assert response.status_code == 401
    assert "Jupyter server's token" in error_of(response)["message"]
    assert "nonsense" not in response.text


async def test_another_providers_key_says_what_to_unset(anonymous, error_of) -> None:
    key = "sk-proj-" + "x" * 40
    response = await anonymous.get("/v1/models", headers=bearer(key))
    assert response.status_code == 401
    assert "unset OPENAI_API_KEY" in error_of(response)["message"]
    assert key not in response.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token"])
async def test_the_jupyter_token_opens_every_route(anonymous, token, scheme) -> None:
    headers = {"Authorization": f"{scheme} {token}"}
    assert (await anonymous.get("/v1/models", headers=headers)).status_code == 200
    assert (await anonymous.post(PATH, json=BODY, headers=headers)).status_code == 200


class TestScopedKey:
    @pytest.fixture
    def key(self, extension) -> str:
        return extension.gateway.keys.mint("kernel:42")

    async def test_it_opens_our_routes_and_no_others(self, anonymous, key) -> None:
        assert (await anonymous.get("/v1/models", headers=bearer(key))).status_code == 200
        assert (await anonymous.post(PATH, json=BODY, headers=bearer(key))).status_code == 200
        for core in ("/api/kernels", "/api/contents", "/api/sessions", "/api/me", "/metrics"):
            assert (await anonymous.get(core, headers=bearer(key))).status_code == 403

    async def test_it_leaves_no_login_cookie_behind(self, anonymous, key) -> None:
        response = await anonymous.get("/v1/models", headers=bearer(key))
        assert "set-cookie" not in response.headers

    async def test_it_works_where_the_authorizer_knows_only_its_own_users(self, anonymous, key, jp_serverapp) -> None:
        # JupyterHub's authorizer reads an attribute that a plain user has not.
        class HubLike(type(jp_serverapp.authorizer)):  # type: ignore[misc]
            def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
                return bool(user.hub_user)

        jp_serverapp.web_app.settings["authorizer"] = HubLike()
        assert (await anonymous.get("/v1/models", headers=bearer(key))).status_code == 200

    async def test_it_opens_nothing_once_revoked(self, anonymous, key, extension, error_of) -> None:
        extension.gateway.keys.revoke(key)
        response = await anonymous.get("/v1/models", headers=bearer(key))
        assert response.status_code == 401
        assert "no longer valid" in error_of(response)["message"]
        assert "restart the kernel" in error_of(response)["message"]
        assert key not in response.text

    async def test_its_holder_is_in_the_log_and_the_key_is_not(self, anonymous, key, caplog) -> None:
        await anonymous.get("/v1/models", headers=bearer(key))
        assert "user=kernel:42" in caplog.text
        assert key not in caplog.text

    async def test_it_cannot_mint_another(self, anonymous, key, error_of) -> None:
        response = await anonymous.post("/bodhi/v1/keys", json={"name": "x"}, headers=bearer(key))
        assert response.status_code == 403
        assert error_of(response)["code"] == "permission_denied"


async def test_a_key_for_a_terminal(client, anonymous, error_of) -> None:
    response = await client.post("/bodhi/v1/keys", json={"name": "ann"})
    assert response.status_code == 201
    assert (await anonymous.get("/v1/models", headers=bearer(response.json()["key"]))).status_code == 200
    for bad, param in (({}, "name"), ({"name": ""}, "name"), ({"name": "a\nb"}, "name"), ({"name": "x", "y": 1}, "y")):
        response = await client.post("/bodhi/v1/keys", json=bad)
        assert response.status_code == 400
        assert error_of(response)["param"] == param


async def log_in(client, browser) -> None:
    """Give the browser the cookie that Jupyter's own routes set for whoever brings the token."""
    browser.cookies.update((await client.get("/api/me")).cookies)


async def test_a_cookie_needs_the_xsrf_header(client, anonymous, error_of) -> None:
    await log_in(client, anonymous)
    assert (await anonymous.get("/v1/models")).status_code == 200
    response = await anonymous.post(PATH, json=BODY)
    assert response.status_code == 403
    assert "X-XSRFToken" in error_of(response)["message"]
    xsrf = "2|abcdef01|00112233445566778899aabbccddeeff|1700000000"
    anonymous.cookies.set("_xsrf", xsrf)
    assert (await anonymous.post(PATH, json=BODY, headers={"X-XSRFToken": xsrf})).status_code == 200


@pytest.fixture
def hub(monkeypatch, jp_web_app) -> None:
    """What a single-user server of JupyterHub's puts in place of Jupyter's check (jupyterhub 6.1)."""

    def check(handler: JupyterHandler) -> None:
        if not getattr(handler, "_token_authenticated", False):
            raise web.HTTPError(403, "'_xsrf' argument missing from POST")

    monkeypatch.setattr(JupyterHandler, "check_xsrf_cookie", check)
    monkeypatch.setitem(jp_web_app.settings, "xsrf_cookies", False)


@pytest.mark.usefixtures("hub")
async def test_a_scoped_key_needs_no_xsrf_header_on_a_hub_either(client, anonymous, extension) -> None:
    key = extension.gateway.keys.mint("kernel:42")
    assert (await anonymous.post(PATH, json=BODY, headers=bearer(key))).status_code == 200
    assert (await anonymous.post(f"/bodhi/ollama/{key}{PATH}", json=BODY)).status_code == 200
    assert (await client.post(PATH, json=BODY)).status_code == 200


@pytest.mark.usefixtures("hub")
async def test_a_key_that_opens_nothing_is_told_so_on_a_hub(anonymous, error_of) -> None:
    for headers in ({}, bearer("bodhi-unknown"), bearer("sk-other")):
        response = await anonymous.post(PATH, json=BODY, headers=headers)
        assert (response.status_code, error_of(response)["code"]) == (401, "invalid_api_key")


async def test_a_page_of_another_origin_is_refused_with_a_cookie(client, anonymous, error_of) -> None:
    await log_in(client, anonymous)
    response = await anonymous.post(PATH, json=BODY, headers={"Origin": "http://evil.example"})
    assert response.status_code == 403
    assert error_of(response)["code"] == "permission_denied"


class TestAllowedOrigin:
    ORIGIN = "http://page.example"

    @pytest.fixture
    def jp_server_config(self, jp_server_config) -> Config:
        jp_server_config["ServerApp"]["allow_origin"] = self.ORIGIN
        return jp_server_config

    @pytest.mark.parametrize("path", [PATH, "/v1/messages", "/api/chat"])
    async def test_a_page_may_send_the_headers_of_the_sdks_for_javascript(self, anonymous, path) -> None:
        asked = "authorization,content-type,x-stainless-lang,anthropic-version"
        response = await anonymous.options(
            path,
            headers={
                "Origin": self.ORIGIN,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == self.ORIGIN
        allowed = response.headers["access-control-allow-headers"].split(",")
        assert set(asked.split(",")) <= {name.strip() for name in allowed}

    @pytest.mark.parametrize("asked", ["a;b", "a\tb", "a," * 100, "*"])
    async def test_what_is_no_list_of_headers_is_not_repeated(self, anonymous, asked) -> None:
        headers = {"Origin": self.ORIGIN, "Access-Control-Request-Headers": asked}
        response = await anonymous.options(PATH, headers=headers)
        assert response.headers["access-control-allow-headers"].endswith("x-xsrftoken")


async def test_a_rebound_host_name_is_refused(client, error_of) -> None:
    response = await client.get("/v1/models", headers={"Host": "evil.example"})
    assert response.status_code == 403
    assert "allow_remote_access" in error_of(response)["message"]


class TestAuthorizer:
    @pytest.fixture
    def jp_server_config(self, jp_server_config) -> Config:
        jp_server_config["ServerApp"]["authorizer_class"] = "tests.handlers.refusing.RefusingAuthorizer"
        return jp_server_config

    async def test_the_servers_own_authorizer_decides(self, client, error_of) -> None:
        response = await client.get("/v1/models")
        assert response.status_code == 403
        assert "authorizer" in error_of(response)["message"]


#: As Jupyter's own table has them.
ACTIONS = {"get": "read", "head": "read", "post": "write", "put": "write", "patch": "write", "delete": "write"}


class Caller(SimpleNamespace):
    """What Jupyter's decorators see of a handler; its authorizer writes down what it is asked, and says no."""

    def __init__(self, verb: str) -> None:
        super().__init__(current_user="somebody", request=SimpleNamespace(method=verb.upper()))
        self.asked: list[tuple[str, str]] = []
        self.authorizer, self.auth_resource = self, "bodhi"

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return False


async def test_the_authorizer_is_asked_for_what_each_verb_does_whatever_was_asked_before() -> None:
    served = [
        (handler, verb)
        for handler in dict.fromkeys(handler for _, handler in (*ROUTES, *KEYED_ROUTES))
        for verb in ACTIONS
        if getattr(handler, verb) is not web.RequestHandler._unimplemented_method
    ]
    assert len(served) > 100
    # In the other order, too: a decorator that remembers its first action is right for whoever came first.
    for handler, verb in (*served, *reversed(served)):
        caller = Caller(verb)
        with pytest.raises(web.HTTPError, match="not authorized"):
            await getattr(handler, verb)(caller)
        assert caller.asked == [(ACTIONS[verb], "bodhi")], (handler, verb)


async def test_core_routes_answer_as_ever(client) -> None:
    for path, key in (
        ("/api/contents", "content"),
        ("/api/status", "started"),
        ("/api/me", "identity"),
        ("/api", "version"),
    ):
        response = await client.get(path)
        assert response.status_code == 200
        assert key in response.json()
    assert (await client.get("/api/kernels")).json() == []
    assert (await client.get("/api/sessions")).json() == []
    assert (await client.get("/metrics")).status_code == 200


async def test_the_backends_key_is_nowhere_to_be_seen(client, extension, caplog) -> None:
    await client.post(PATH, json=BODY)
    await client.get("/bodhi/health")
    assert "backend-secret" not in caplog.text
    assert "backend-secret" not in json.dumps((await client.get("/v1/models")).json())
    assert "backend-secret" not in repr(extension.gateway)
