from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from bodhi_jupyter.access.environment import (
    kernel_base_url,
    kernel_variables,
    shell_exports,
    without_secrets,
)
from bodhi_jupyter.wire.provider_variables import PROVIDERS

BASE = "http://127.0.0.1:8888/user/ann"
KEY = "bodhi-key"
OURS = {
    "OPENAI_BASE_URL": f"{BASE}/v1",
    "OPENAI_API_KEY": KEY,
    "OLLAMA_HOST": BASE,
    "OLLAMA_API_KEY": KEY,
    "ANTHROPIC_BASE_URL": BASE,
    "ANTHROPIC_AUTH_TOKEN": KEY,
}
LOOPBACK = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
ALL_NAMES = [(provider, name) for provider in PROVIDERS for name in provider.names]


def test_an_untouched_environment_is_given_the_variables_of_every_provider() -> None:
    env = {"PATH": "/bin"}
    additions, left_alone = kernel_variables(BASE, KEY, env, "auto")
    assert additions == OURS | LOOPBACK
    assert left_alone == ()
    assert env == {"PATH": "/bin"}


@pytest.mark.parametrize(("provider", "name"), ALL_NAMES, ids=[name for _, name in ALL_NAMES])
def test_one_variable_of_the_user_keeps_us_from_all_of_its_provider(provider, name: str) -> None:
    additions, left_alone = kernel_variables(BASE, KEY, {name: "mine"}, "auto")
    assert left_alone == (provider,)
    assert provider.set_by_user({name: "mine"}, BASE) == (name,)
    assert not {provider.url_variable, provider.key_variable, name} & additions.keys()
    others = {other.key_variable for other in PROVIDERS if other is not provider}
    assert others < additions.keys()


def test_the_named_variables_are_known() -> None:
    named = {name for _, name in ALL_NAMES}
    assert {*OURS, "ANTHROPIC_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"} <= named


def test_an_empty_variable_is_nobodys() -> None:
    additions, left_alone = kernel_variables(BASE, KEY, {"OPENAI_API_KEY": "", "OLLAMA_HOST": " "}, "auto")
    assert left_alone == ()
    assert OURS.items() <= additions.items()


@pytest.mark.parametrize(
    ("base_url", "address", "is_ours"),
    [
        (BASE, BASE, True),
        # Exported from a server that has ended since, or for another one of this machine.
        (BASE, "http://127.0.0.1:9999", True),
        (BASE, "http://localhost:8888/", True),
        (BASE, "http://[::1]:8888", True),
        (BASE, "127.0.0.1:8888", True),
        (BASE, "", True),
        ("http://10.1.2.3:8888", "http://10.1.2.3:9999", True),
        ("https://hub.example/user/ann", "https://hub.example/user/ann", True),
        ("https://hub.example/user/ann", "http://127.0.0.1:8888/user/ann", True),
        ("https://hub.example/user/ann", "https://hub.example/user/bob", False),
        (BASE, "https://gpu.example:8888/user/ann", False),
        (BASE, "gpu.example:8888", False),
        (BASE, "http://10.1.2.3:8888", False),
        (BASE, "http://[", False),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS, ids=[provider.name for provider in PROVIDERS])
def test_a_key_of_ours_with_an_address_elsewhere_is_the_users(
    provider, base_url: str, address: str, is_ours: bool
) -> None:
    url = address.rstrip("/") + provider.url_path if address else ""
    env = {provider.url_variable: url, provider.key_variable: "bodhi-another-servers"}
    additions, left_alone = kernel_variables(base_url, KEY, env, "auto")
    assert left_alone == (() if is_ours else (provider,))
    assert (provider.url_variable in additions, provider.key_variable in additions) == (is_ours, is_ours)


def test_where_every_provider_is_set_by_the_user_nothing_at_all_is_set() -> None:
    env = {"OPENAI_API_KEY": "a", "OLLAMA_HOST": "b", "ANTHROPIC_API_KEY": "c", "HTTP_PROXY": "http://proxy:3128"}
    assert kernel_variables(BASE, KEY, env, "auto") == ({}, PROVIDERS)


def test_never_sets_nothing() -> None:
    assert kernel_variables(BASE, KEY, {"OPENAI_API_KEY": "mine"}, "never") == ({}, ())


def test_always_sets_all_and_sends_us_no_credential_of_the_user() -> None:
    env = {
        "OPENAI_API_KEY": "mine",
        "OPENAI_ADMIN_KEY": "mine",
        "OPENAI_CUSTOM_HEADERS": "Authorization: mine",
        "ANTHROPIC_API_KEY": "mine",
        "ANTHROPIC_CUSTOM_HEADERS": "Authorization: mine",
    }
    additions, left_alone = kernel_variables(BASE, KEY, env, "always")
    assert left_alone == ()
    assert additions == OURS | LOOPBACK | {
        "OPENAI_ADMIN_KEY": KEY,
        "OPENAI_CUSTOM_HEADERS": "",
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_CUSTOM_HEADERS": "",
    }
    assert "mine" not in (env | additions).values()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"NO_PROXY": "corp.example"}, "corp.example,127.0.0.1,localhost"),
        ({"no_proxy": "corp.example, localhost"}, "corp.example,localhost,127.0.0.1"),
        ({"NO_PROXY": ""}, "127.0.0.1,localhost"),
    ],
)
def test_what_already_goes_direct_still_does_in_both_spellings(env: dict[str, str], expected: str) -> None:
    additions = kernel_variables(BASE, KEY, env, "auto").additions
    assert additions["NO_PROXY"] == additions["no_proxy"] == expected


def test_two_different_spellings_keep_their_own_hosts() -> None:
    additions = kernel_variables(BASE, KEY, {"NO_PROXY": "a.example", "no_proxy": "b.example"}, "auto").additions
    assert additions["NO_PROXY"] == "a.example,127.0.0.1,localhost"
    assert additions["no_proxy"] == "b.example,127.0.0.1,localhost"


@pytest.mark.parametrize("value", ["*", "localhost,127.0.0.1", "a.example,*"])
def test_what_already_suffices_is_left_as_it_is(value: str) -> None:
    env = {"NO_PROXY": value, "no_proxy": value}
    assert not {"NO_PROXY", "no_proxy"} & kernel_variables(BASE, KEY, env, "auto").additions.keys()


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://[::1]:8888", "127.0.0.1,localhost,::1"),
        ("http://10.0.0.5:8888", "127.0.0.1,localhost,10.0.0.5"),
        ("https://hub.example/user/ann", "127.0.0.1,localhost"),
    ],
)
def test_the_address_itself_goes_direct_where_it_is_numeric(base_url: str, expected: str) -> None:
    assert kernel_variables(base_url, KEY, {}, "auto").additions["NO_PROXY"] == expected


def test_the_systems_proxies_survive_our_no_proxy() -> None:
    system = {"http": "http://proxy:3128", "https": "http://proxy:3128", "no": "x"}
    additions = kernel_variables(BASE, KEY, {}, "auto", system).additions
    assert additions == OURS | LOOPBACK | {"http_proxy": "http://proxy:3128", "https_proxy": "http://proxy:3128"}


def test_the_users_proxy_variables_win_over_the_systems() -> None:
    additions = kernel_variables(BASE, KEY, {"HTTP_PROXY": "http://mine:1"}, "auto", {"http": "http://p:2"}).additions
    assert additions == OURS | LOOPBACK


@dataclass
class Loopback:
    """A server of our own on the loopback, and the requests that reached it as (path, Authorization)."""

    base_url: str
    seen: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in [name for _, name in ALL_NAMES] + [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name, raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there.seen.append((self.path, self.headers["Authorization"]))
            body = b'{"object": "list", "data": []}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        there = Loopback(f"http://127.0.0.1:{server.server_port}/user/ann")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield there
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("mode", "env"),
    [("auto", {}), ("always", {"OPENAI_API_KEY": "mine", "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer mine"})],
)
def test_the_openai_sdk_without_arguments_comes_to_us(mode, env, loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (env | kernel_variables(loopback.base_url, KEY, env, mode).additions).items():
        monkeypatch.setenv(name, value)
    import openai

    with openai.OpenAI(max_retries=0) as client:
        assert client.models.list().data == []
    assert loopback.seen == [("/user/ann/v1/models", f"Bearer {KEY}")]


def test_a_proxy_never_sees_the_call_to_us(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"HTTP_PROXY": "http://127.0.0.1:1"}
    monkeypatch.setenv("HTTP_PROXY", env["HTTP_PROXY"])
    with pytest.raises(httpx.ConnectError):
        httpx.get(loopback.base_url)
    for name, value in kernel_variables(loopback.base_url, KEY, env, "auto").additions.items():
        monkeypatch.setenv(name, value)
    assert httpx.get(loopback.base_url).status_code == 200


def test_our_secrets_are_dropped_and_nothing_else() -> None:
    kept = {
        "BODHI_BACKEND_URL": "http://127.0.0.1:8080",
        "BODHI_LOG_LEVEL": "debug",
        "OPENAI_API_KEY": "the user's own",
        "MY_BODHI_KEY": "not ours",
        "BODHISATTVA_KEY": "not ours",
    }
    secrets = {
        "BODHI_BACKEND_KEY": "x",
        "BODHI_KEY": "x",
        "bodhi_backend_api_key": "x",
        "BODHI_BACKEND_KEY_FILE": "x",
        "BODHI_HUB_TOKEN": "x",
        "Bodhi_Client_Secret": "x",
        "BODHI_DB_PASSWORD": "x",
        "BODHI_LIMITS_STORAGE": "redis://127.0.0.1:6379",
        "BODHI_APIKEY": "x",
        "BODHI_OTHER_URL": "http://ann:secret@127.0.0.1:8080",
    }
    env = kept | secrets
    assert without_secrets(env) == kept
    assert env == kept | secrets


@pytest.mark.parametrize(
    ("ip", "host"),
    [
        ("", "127.0.0.1"),
        ("*", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::5", "[fd00::5]"),
        ("notebooks.example", "notebooks.example"),
    ],
)
def test_the_address_is_one_that_can_be_connected_to(ip: str, host: str) -> None:
    assert kernel_base_url(ip=ip, port=9914, base_url="/a%40b/").url == f"http://{host}:9914/a%40b"
    assert kernel_base_url(ip=ip, port=80, base_url="/").url == f"http://{host}:80"


def test_a_unix_socket_has_no_address_but_a_reason() -> None:
    found = kernel_base_url(ip="localhost", port=8888, base_url="/", sock="/run/jupyter.sock")
    assert found.url is None
    assert "Unix socket" in found.reason
    assert "c.BodhiExtension.kernel_url" in found.reason
    assert "/run/jupyter.sock" not in found.reason


def test_tls_has_no_address_but_a_reason() -> None:
    found = kernel_base_url(ip="localhost", port=8888, base_url="/", certfile="/etc/cert.pem")
    assert found.url is None
    assert "SSL_CERT_FILE" in found.reason
    assert "c.BodhiExtension.kernel_url" in found.reason


def test_the_configured_address_wins() -> None:
    found = kernel_base_url(
        ip="localhost", port=8888, base_url="/x/", sock="s", certfile="c", kernel_url="https://hub.example/user/ann/"
    )
    assert found.url == "https://hub.example/user/ann"


def test_a_configured_address_without_a_scheme_is_refused() -> None:
    found = kernel_base_url(ip="localhost", port=8888, base_url="/", kernel_url="hub.example/user/ann")
    assert found.url is None
    assert "http://" in found.reason


AWKWARD = "a'b $HOME `id` \\ %40 \u2019; &"


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", "export NAME='a'\"'\"'b $HOME `id` \\ %40 \u2019; &'\n"),
        ("fish", "set -gx NAME 'a\\'b $HOME `id` \\\\ %40 \u2019; &'\n"),
        ("powershell", "$env:NAME = 'a''b $HOME `id` \\ %40 \u2019\u2019; &'\n"),
        ("cmd", 'set "NAME=a\'b $HOME `id` \\ %40 \u2019; &"\n'),
    ],
)
def test_exports_quote_what_the_shell_would_read(shell, line: str) -> None:
    assert shell_exports({"NAME": AWKWARD}, shell) == line


def test_exports_have_one_line_each() -> None:
    assert shell_exports({"A": "1", "B": "2"}, "sh") == "export A=1\nexport B=2\n"


@pytest.mark.parametrize("value", ['a"b', "a\nb"])
def test_cmd_refuses_what_it_cannot_quote(value: str) -> None:
    with pytest.raises(ValueError, match="NAME"):
        shell_exports({"NAME": value}, "cmd")


@pytest.mark.parametrize(
    ("shell", "program", "show"),
    [
        ("sh", "sh", 'printf %s "$NAME"'),
        ("fish", "fish", 'printf %s "$NAME"'),
        ("powershell", "pwsh", "[Console]::Write($env:NAME)"),
    ],
)
def test_a_real_shell_reads_back_the_value(shell, program: str, show: str) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    script = shell_exports({"NAME": AWKWARD}, shell) + show
    done = subprocess.run([path, "-c", script], capture_output=True, check=True, encoding="utf-8")
    assert done.stdout == AWKWARD
