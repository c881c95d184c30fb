"""A server with a certificate of its own, below a base URL: what docs/configuration.md says of TLS, as it is done."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.live.kernel import Kernel
from tests.live.server import LiveServer, run

ASK = {
    "OpenAI": """
from openai import OpenAI
print(OpenAI().chat.completions.create(model="default", messages=question, max_tokens=4).model)
""",
    "OpenAI, streamed": """
from openai import OpenAI
*_, last = OpenAI().chat.completions.create(model="default", messages=question, max_tokens=4, stream=True)
print(last.model)
""",
    "Ollama": """
import ollama
print(ollama.chat(model="default", messages=question, options={"num_predict": 4}).model)
""",
    "Anthropic": """
from anthropic import Anthropic
print(Anthropic().messages.create(model="default", messages=question, max_tokens=4).model)
""",
    "chat": """
from bodhi_jupyter import chat
print(chat("hello", show=False, max_tokens=4).model)
""",
}
QUESTION = 'question = [{"role": "user", "content": "hello"}]\n'


def _free_port() -> int:
    """`kernel_url` names the port before the server has it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _certificate(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Settings of a server with a certificate for this machine, and the environment that trusts it."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    paths = {name: folder / f"{name}.pem" for name in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(str(paths["authority"]))
    issued.private_key_pem.write_to_path(str(paths["key"]))
    paths["certificate"].write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    settings = {"certfile": str(paths["certificate"]), "keyfile": str(paths["key"]), "base_url": "/below/here/"}
    return settings, {"SSL_CERT_FILE": str(paths["authority"])}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder, port = tmp_path_factory.mktemp("tls"), _free_port()
    settings, trusting = _certificate(folder)
    config = {
        "ServerApp": {**settings, "port": port, "port_retries": 0},
        "BodhiExtension": {"kernel_url": f"https://localhost:{port}/below/here/"},
    }
    with LiveServer(folder, config=config, env=trusting) as live:
        yield live


@pytest.mark.parametrize("client", ASK)
def test_a_kernels_clients_reach_it(server, client):
    with Kernel(server) as kernel:
        assert kernel.run(QUESTION + ASK[client]).split()[-1].removesuffix(":latest") in {"guide", "default"}


def test_its_kernels_are_given_the_configured_address(server):
    with Kernel(server) as kernel:
        environment = kernel.environment()

    url = f"https://localhost:{server.port}/below/here"
    assert environment["OPENAI_BASE_URL"] == f"{url}/v1"
    assert environment["OLLAMA_HOST"] == environment["ANTHROPIC_BASE_URL"] == url


def test_the_doctor_finds_all_well(server):
    said = server.run("bodhi", "doctor")

    assert said.returncode == 0, said.stdout + said.stderr
    assert "New kernels are given no address" not in said.stdout
    assert "The default model, guide, answered in" in said.stdout


def test_the_doctor_says_that_it_is_not_trusted(server):
    said = server.run("bodhi", "doctor", env={"SSL_CERT_FILE": ""})

    assert said.returncode == 1
    assert "its TLS certificate is not trusted here (set SSL_CERT_FILE to" in said.stdout
    assert "If it hangs" not in said.stdout


def test_the_exports_lead_a_terminals_programs_there(server):
    script = 'eval "$(jupyter bodhi env)" && python -c "$ASK"'

    said = run(["sh", "-c", script], {**server.environment, "ASK": QUESTION + ASK["OpenAI"]}, server.root)

    assert (said.returncode, said.stdout) == (0, "guide\n"), said.stderr


def test_a_kernel_that_does_not_trust_it_is_told_so(server):
    with Kernel(server) as kernel:
        kernel.run("import os; del os.environ['SSL_CERT_FILE']")
        said = kernel.run(
            "from bodhi_jupyter import chat\nfrom bodhi_jupyter.notebook.errors import NotebookError\n"
            "try: chat('hello')\nexcept NotebookError as error: print(type(error).__name__, error)"
        )

    assert said.startswith(f"ServerUnreachable The certificate of the server at https://localhost:{server.port}/below")
    assert "is not trusted in this kernel: set SSL_CERT_FILE" in said


def test_without_kernel_url_the_log_says_what_to_do(tmp_path):
    settings, trusting = _certificate(tmp_path)
    with LiveServer(tmp_path, config={"ServerApp": settings}, env=trusting) as server:
        with Kernel(server) as kernel:
            assert "OPENAI_BASE_URL" not in kernel.environment()
            assert kernel.run(ASK["chat"]).strip() == "guide"
        said = server.run("bodhi", "env", "--shell=sh")
        examined = server.run("bodhi", "doctor")

    assert "The server speaks TLS with a certificate that SDKs in kernels may not trust" in server.log()
    assert "note   New kernels are given no address" in examined.stdout
    assert "-> The server speaks TLS with a certificate" in examined.stdout
    assert f"export OPENAI_BASE_URL=https://localhost:{server.port}/below/here/v1\n" in said.stdout
