"""``jupyter bodhi key``, as a person types it, beside a server that runs all the while."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.live.server import LiveServer, jupyter, own_environment, run


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # As with `--debug`: the lines of requests that went well, too.
    with LiveServer(tmp_path_factory.mktemp("server"), config={"Application": {"log_level": "DEBUG"}}) as live:
        yield live


def said_key(text: str) -> str:
    key, *rest = text.splitlines()
    assert re.fullmatch(r"bodhi-[A-Za-z0-9_-]{43}", key)
    assert rest
    return key


def test_a_running_server_takes_a_new_key_and_refuses_a_revoked_one(server: LiveServer) -> None:
    made = server.run("bodhi", "key", "create", "--name", "editor")
    assert (made.returncode, made.stderr) == (0, "")
    key = said_key(made.stdout)
    assert f"OLLAMA_HOST={server.url}/bodhi/ollama/{key}\n" in made.stdout
    assert f"OPENAI_BASE_URL={server.url}/v1\n" in made.stdout
    assert f"OPENAI_API_KEY={key}\n" in made.stdout
    assert server.get("/v1/models", key).status_code == 200

    listed = server.run("bodhi", "key", "list")
    assert listed.returncode == 0
    assert re.fullmatch(r"[0-9a-f]{8}  editor  \d{4}-\d\d-\d\d \d\d:\d\d UTC\n", listed.stdout)

    ended = server.run("bodhi", "key", "revoke", "editor")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert server.get("/v1/models", key).status_code == 401
    assert server.run("bodhi", "key", "list").stdout == ""
    assert "user=key:editor" in server.log()
    assert key not in server.log()


def test_keys_need_no_server_and_are_revoked_by_id(tmp_path: Path) -> None:
    def bodhi_key(*arguments: str):
        return run(jupyter("bodhi", "key", *arguments), own_environment(tmp_path), tmp_path)

    made = bodhi_key("create")
    assert made.returncode == 0
    assert "No server of yours runs" in made.stderr
    assert f"OLLAMA_HOST=http://127.0.0.1:8888/bodhi/ollama/{said_key(made.stdout)}\n" in made.stdout
    identity = bodhi_key("list").stdout.split()[0]
    assert bodhi_key("revoke", identity).returncode == 0
    unknown = bodhi_key("revoke", identity)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == f"There is no key '{identity}'.\n"


@pytest.mark.parametrize("arguments", [(), ("revoke",), ("create", "editor"), ("create", "--name", "a/b")])
def test_what_is_meant_wrong_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = run(jupyter("bodhi", "key", *arguments), own_environment(tmp_path), tmp_path)
    assert said.returncode == 1
    assert said.stdout == ""
    assert "Traceback" not in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_a_mistyped_subcommand_is_told_the_nearest(tmp_path: Path) -> None:
    said = run(jupyter("bodhi", "key", "crate"), own_environment(tmp_path), tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    assert "Did you mean `jupyter bodhi key create`? Its subcommands are create, list and revoke." in said.stderr


@pytest.mark.parametrize("arguments", [("create",), ("list",), ("revoke", "editor")])
def test_a_broken_file_is_named_and_kept(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "data" / "bodhi" / "keys.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    said = run(jupyter("bodhi", "key", *arguments), own_environment(tmp_path), tmp_path)
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.startswith(f"{file} is not a file of keys (")
    assert file.read_text() == "{"
