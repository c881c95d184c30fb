"""``jupyter bodhi``, and its two commands, as a person types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from tests.fakes.llama import nobody_listening
from tests.live.server import LiveServer, jupyter, own_environment, run

ASK = """
from openai import OpenAI
answer = OpenAI().chat.completions.create(
    model="default", messages=[{"role": "user", "content": "hello"}], max_tokens=2
)
print("answered by", answer.model)
"""


def test_the_doctor_finds_all_well(server: LiveServer):
    said = server.run("bodhi", "doctor")

    assert said.returncode == 0, said.stderr
    assert "All is well." in said.stdout
    assert f"The server {server.url}, in {server.root}" in said.stdout
    assert "The default model, guide, answered in" in said.stdout
    assert "WRONG" not in said.stdout
    assert server.token not in said.stdout + said.stderr


def test_the_doctor_needs_no_server(tmp_path):
    said = run(jupyter("bodhi", "doctor"), own_environment(tmp_path), tmp_path)

    assert said.returncode == 0, said.stdout + said.stderr
    assert "No Jupyter server of yours is running." in said.stdout
    assert "jupyter lab" in said.stdout


def test_the_doctor_says_that_the_backend_is_down(start_server):
    with nobody_listening() as url:
        server = start_server(config={"BodhiExtension": {"backend_url": url}})
        said = server.run("bodhi", "doctor")

    assert said.returncode == 1
    assert f"c.BodhiExtension.backend_url: the server at {url}." in said.stdout
    assert "WRONG  The configured server 'backend': The backend 'backend' cannot be reached." in said.stdout
    assert "Start that server, or correct its address" in said.stdout
    assert "WRONG  The default model did not answer" in said.stdout


def test_the_doctor_says_that_a_server_runs_without_the_extension(start_server):
    server = start_server(config={"ServerApp": {"jpserver_extensions": {"bodhi_jupyter": False}}})

    said = server.run("bodhi", "doctor")

    assert said.returncode == 1
    assert "WRONG  It runs without the extension." in said.stdout
    assert "WRONG  Jupyter does not load the extension" in said.stdout
    assert "jupyter server extension enable bodhi_jupyter" in said.stdout


def test_the_doctor_explains_a_key_of_the_users(tmp_path):
    environment = own_environment(tmp_path, OPENAI_API_KEY="sk-mine")

    said = run(jupyter("bodhi", "doctor"), environment, tmp_path)

    assert said.returncode == 0
    assert "note   OPENAI_API_KEY set in this terminal" in said.stdout
    assert "unset OPENAI_API_KEY" in said.stdout
    assert "sk-mine" not in said.stdout


def test_the_doctor_knows_a_key_of_ours_at_the_configured_address(tmp_path):
    (tmp_path / "config").mkdir()
    ours = "https://hub.example/user/ann"
    config = tmp_path / "config" / "jupyter_server_config.json"
    config.write_text(json.dumps({"BodhiExtension": {"kernel_url": ours}}))
    environment = own_environment(tmp_path, OLLAMA_HOST=ours, OLLAMA_API_KEY="bodhi-one")

    said = run(jupyter("bodhi", "doctor"), environment, tmp_path)

    assert said.returncode == 0, said.stdout + said.stderr
    assert "OLLAMA_HOST" not in said.stdout


def test_the_doctor_shows_no_password_of_a_backend(tmp_path):
    environment = own_environment(tmp_path, BODHI_BACKEND_URL="http://ann:secret@127.0.0.1:8080/v1")

    said = run(jupyter("bodhi", "doctor"), environment, tmp_path)

    assert "BODHI_BACKEND_URL: the server at http://127.0.0.1:8080." in said.stdout
    assert "secret" not in said.stdout


def test_the_doctor_reports_all_configured_servers_and_broken_files(start_server):
    with nobody_listening() as url:
        server = start_server(config={"BodhiExtension": {"backends": {"gpu-box": {"url": url, "api_key": "secret"}}}})
        aliases = server.root.parent / "data" / "bodhi" / "aliases"
        aliases.mkdir(parents=True)
        (aliases / "mine.yaml").write_text("alias: mine\nnonsense: 1\n")
        server.get("/v1/models?refresh=true")
        said = server.run("bodhi", "doctor")

    assert f"c.BodhiExtension.backends['gpu-box']: the server at {url}." in said.stdout
    assert "WRONG  The configured server 'gpu-box': " in said.stdout
    assert "note   A file is not used: mine.yaml, line 2: " in said.stdout
    assert "secret" not in said.stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "c.BodhiExtension.backends = [{'url': 'http://127.0.0.1:1', 'api_key': 's3cret'}]",
            "WRONG  c.BodhiExtension.backends, which has to be a dict of servers by their names, is not the address",
        ),
        (
            "c.BodhiExtension.backends.update({'gpu': {'url': 'http://127.0.0.1:1'}})",
            "c.BodhiExtension.backends['gpu']: the server at http://127.0.0.1:1.",
        ),
        (
            "c.BodhiExtension.model_folders.append('~/not-here')",
            "WRONG  c.BodhiExtension.model_folders: there is no folder ~/not-here.",
        ),
        ("c.BodhiExtension.max_loaded_models = 0", "WRONG  The value of the 'max_loaded_models' trait"),
        ("c.BodhiExtension.kernel_env = 'sometimes'", "WRONG  The 'kernel_env' trait"),
        (
            "c.BodhiExtension.backends = {'local': {'url': 'http://127.0.0.1:1', 'api_key': 's3cret'}}",
            "WRONG  A backend cannot be called 'local'.",
        ),
        ("c.BodhiExtension.backend_api_key = ['s3cret']", "WRONG  backend_api_key has to be a unicode string."),
        ("c.BodhiExtension.backend_ulr = 'http://127.0.0.1:1'", "> Perhaps backend_url is meant"),
        (
            "c.BodhiExtension.limits = {'user': {'streams': 4}}\nc.BodhiExtension.limits_storage = 'http://:s3cret@cache'",
            "WRONG  c.BodhiExtension.limits_storage has to be a URL",
        ),
        ("c.BodhiExtension.open_browser = True", "All is well."),
    ],
)
def test_the_doctor_reads_settings_however_they_are_made(tmp_path, line, told):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jupyter_server_config.py").write_text(f"c = get_config()\n{line}\n")

    said = run(jupyter("bodhi", "doctor"), own_environment(tmp_path), tmp_path)

    assert told in said.stdout
    assert "s3cret" not in said.stdout + said.stderr


def test_the_doctor_looks_for_the_configured_binary(start_server):
    server = start_server(config={"BodhiExtension": {"llama_server": "no-such-llama-server"}})

    said = server.run("bodhi", "doctor")

    assert said.returncode == 1
    assert "Correct c.BodhiExtension.llama_server" in said.stdout
    assert "WRONG  Local models: " in said.stdout


def test_the_doctor_knows_an_address_from_something_else(tmp_path):
    said = run(jupyter("bodhi", "doctor"), own_environment(tmp_path, BODHI_BACKEND_URL="127.0.0.1:8080"), tmp_path)

    assert said.returncode == 1
    assert "WRONG  BODHI_BACKEND_URL is not the address of a server." in said.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="sh is not at home there")
def test_the_exports_lead_a_terminals_programs_here(server: LiveServer):
    script = f'eval "$(jupyter bodhi env)" && exec {sys.executable} -c "$ASK"'

    said = run(
        ["sh", "-c", script], {**server.environment, "ASK": ASK, "HTTP_PROXY": "http://127.0.0.1:9"}, server.root
    )

    assert said.returncode == 0, said.stderr
    assert said.stdout == "answered by guide\n"


@pytest.mark.skipif(sys.platform == "win32", reason="sh is not at home there")
def test_a_notebook_that_no_server_runs_has_its_key_from_the_terminal(server: LiveServer):
    asked = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ASK)])
    nbformat.write(asked, server.root / "asked.ipynb")
    script = 'eval "$(jupyter bodhi env)" && jupyter execute asked.ipynb --output answered.ipynb'

    said = run(["sh", "-c", script], server.environment, server.root)

    assert said.returncode == 0, said.stderr
    (output,) = nbformat.read(server.root / "answered.ipynb", as_version=4).cells[0].outputs
    assert output.text == "answered by guide\n"


@pytest.mark.parametrize(
    ("shell", "start"),
    [
        ("sh", "export OPENAI_BASE_URL="),
        ("fish", "set -gx OPENAI_BASE_URL "),
        ("powershell", "$env:OPENAI_BASE_URL = "),
        ("cmd", 'set "OPENAI_BASE_URL='),
    ],
)
def test_every_shell_has_its_syntax(server: LiveServer, shell, start):
    said = server.run("bodhi", "env", "--shell", shell)

    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(start)
    assert f"{server.url}/v1" in said.stdout


def test_a_terminals_key_opens_our_routes_alone(server: LiveServer):
    lines = server.run("bodhi", "env", "--shell", "sh", f"--port={server.port}").stdout.splitlines()
    (key,) = [line.partition("=")[2] for line in lines if line.startswith("export OPENAI_API_KEY=")]

    assert server.get("/v1/models", key).status_code == 200
    assert server.get("/api/contents", key).status_code == 403
    with server.client(key) as client:
        assert client.post("/bodhi/v1/keys", json={"name": "another"}).status_code == 403


def test_without_a_server_the_exports_are_nothing(tmp_path):
    said = run(jupyter("bodhi", "env"), own_environment(tmp_path), tmp_path)

    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.startswith("No Jupyter server of yours is running.")


def test_a_port_where_nobody_is(server: LiveServer):
    # The first digits of a real one are another port.
    said = server.run("bodhi", "env", f"--port={str(server.port)[:-1]}")

    assert said.returncode == 1
    assert "No Jupyter server of yours runs on port" in said.stderr


def test_jupyter_bodhi_serves_without_jupyterlab(start_server):
    server = start_server("bodhi")

    assert server.get("/v1/models").json()["data"][0]["id"] == "guide"
    assert server.chat().status_code == 200
    assert server.get("/lab").status_code == 404


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("doctr", "`jupyter bodhi` knows no 'doctr'. Did you mean `jupyter bodhi doctor`?"),
        ("keys", "`jupyter bodhi` knows no 'keys'. Did you mean `jupyter bodhi key`?"),
        ("serve", "`jupyter bodhi` knows no 'serve'."),
    ],
)
def test_a_mistyped_subcommand_is_told_which_there_are(tmp_path, typed, said):
    result = run(jupyter("bodhi", typed, "--port=0"), own_environment(tmp_path), tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{said} Its subcommands are doctor, env and key.\n"


def test_a_folder_is_served_and_no_mistyped_subcommand(tmp_path):
    (tmp_path / "docs").mkdir()

    said = run(jupyter("bodhi", "docs", "--no-such-flag=1", "--version"), own_environment(tmp_path), tmp_path)

    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("command", [("bodhi",), ("bodhi", "key")])
def test_the_help_speaks_of_the_command_as_it_is_typed(tmp_path, command):
    said = run(jupyter(*command, "--help"), own_environment(tmp_path), tmp_path)

    assert said.returncode == 0
    assert f"`jupyter {' '.join(command)} SUBCOMMAND --help` says more" in " ".join(said.stdout.split())
    assert " cmd" not in said.stdout
    assert "`bodhi_jupyter" not in said.stdout


def test_the_help_names_the_options_that_are_the_servers(tmp_path):
    said = run(jupyter("bodhi", "--help"), own_environment(tmp_path), tmp_path)

    assert "--port" in said.stdout
    assert "`jupyter server --help`" in " ".join(said.stdout.split())


def test_a_port_that_is_named_and_has_no_server_is_wrong(server: LiveServer):
    said = server.run("bodhi", "doctor", f"--port={str(server.port)[:-1]}")

    assert said.returncode == 1
    assert f"WRONG  No Jupyter server of yours on port {str(server.port)[:-1]} is running." in said.stdout
    assert "`jupyter server list`" in said.stdout
    assert "Start one" not in said.stdout


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("httpx", "aiohttp", "pydantic", "tornado", "jupyter_server", "numpy", "gguf", "xllamacpp", "openai")
    code = f"import sys, bodhi_jupyter; print([name for name in {heavy!r} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert said.stdout == "[]\n"


@pytest.mark.skipif(shutil.which("fish") is None or os.name == "nt", reason="fish is not installed")
def test_fish_understands_its_exports(server: LiveServer):
    said = run(
        ["fish", "-c", "jupyter bodhi env --shell fish | source; echo $OPENAI_BASE_URL"],
        server.environment,
        server.root,
    )

    assert said.stdout == f"{server.url}/v1\n"
