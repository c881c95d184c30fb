"""Servers that are opened by a password, or by nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jupyter_server.auth import passwd

from tests.live.server import LiveServer, run


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("open"), config={"IdentityProvider": {"token": ""}}) as live:
        yield live


@pytest.fixture(scope="module")
def password_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    login = {"hashed_password": passwd("secret", algorithm="sha1")}
    config = {"IdentityProvider": {"token": ""}, "PasswordIdentityProvider": login}
    with LiveServer(tmp_path_factory.mktemp("password"), config=config) as live:
        yield live


def test_the_doctor_examines_a_server_without_a_login(open_server):
    said = open_server.run("bodhi", "doctor")

    assert said.returncode == 0, said.stdout
    assert "ok     The default model, guide, answered in" in said.stdout


def test_a_terminal_has_a_key_of_a_server_without_a_login(open_server):
    said = open_server.run("bodhi", "env", "--shell=sh")

    assert said.returncode == 0, said.stderr
    (key,) = [line.partition("=")[2] for line in said.stdout.splitlines() if line.startswith("export OPENAI_API_KEY=")]
    assert open_server.chat(key=key).status_code == 200


@pytest.mark.parametrize(
    "ask",
    [
        "print(chat('hello', max_tokens=2, show=False).model)",
        "print(server.openai().chat.completions.create(model='default', max_tokens=2, messages=question).model)",
        "print(server.http().post('/v1/chat/completions', json=body).json()['model'])",
    ],
)
def test_a_server_without_a_login_is_named_without_a_key(open_server, ask):
    code = (
        f"from bodhi_jupyter import chat, connect\nserver = connect('{open_server.url}')\n"
        f"question = [{{'role': 'user', 'content': 'hello'}}]\n"
        f"body = {{'model': 'default', 'messages': question, 'max_tokens': 2}}\n{ask}"
    )

    said = run(["python", "-c", code], open_server.environment, open_server.root)

    assert (said.returncode, said.stdout) == (0, "guide\n"), said.stderr


def test_a_page_of_another_origin_opens_no_server_without_a_login(open_server):
    body = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}
    with open_server.client("") as anonymous:
        plain = anonymous.post("/v1/chat/completions", json=body)
        foreign = anonymous.post("/v1/chat/completions", json=body, headers={"Origin": "http://page.example"})

    assert (plain.status_code, foreign.status_code) == (403, 403)
    assert "`jupyter bodhi key create` makes one" in plain.json()["error"]["message"]


def test_behind_a_password_the_doctor_and_the_terminal_are_told_what_to_do(password_server):
    examined = password_server.run("bodhi", "doctor")
    exported = password_server.run("bodhi", "env")

    assert examined.returncode == 0
    assert "note   It is opened by a password or another login of its own" in examined.stdout
    assert (exported.returncode, exported.stdout) == (1, "")
    assert "`jupyter bodhi key create` makes one" in exported.stderr
    assert "doctor" not in exported.stderr


def test_behind_a_password_a_made_key_opens_the_models(password_server):
    made = password_server.run("bodhi", "key", "create").stdout.splitlines()[0]

    assert password_server.chat(key=made).status_code == 200
