"""The guide's answers are true of what exists: their code runs, their names are known, their sections are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from bodhi_jupyter.catalog.alias_file import AliasFile, parse_text
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.catalog.request_params import RequestParams
from bodhi_jupyter.extension import BodhiExtension
from bodhi_jupyter.models.box import EMBEDDER
from bodhi_jupyter.routes import ROUTES
from bodhi_jupyter.settings import BodhiSettings
from bodhi_jupyter.wire.openai import ChatRequest
from tests.guide.blocks import Block, blocks, spans
from tests.guide.conftest import ALIAS
from tests.live.kernel import Kernel
from tests.live.server import LiveServer, run
from tools.guide import data

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "bodhi_jupyter").rglob("*.py"))
TRAITS = BodhiSettings.class_own_traits(config=True)
TEXTS = list(data.answers())


def by_name(block: Block) -> str:
    return block.where


# -- code ----------------------------------------------------------------------------------------------------


#: Run by `tests/clients/libraries`, where it is installed.
ELSEWHERE = "langchain_openai"


@pytest.mark.parametrize("block", [one for one in blocks("python") if ELSEWHERE not in one.code], ids=by_name)
def test_python_runs_in_a_notebook(kernel: Kernel, server: LiveServer, block: Block) -> None:
    (server.root.parent / "data" / "bodhi" / "aliases" / "tutor.yaml").write_text(ALIAS)
    shown = kernel.run(block.code)

    # What prints has something to print.
    assert shown.strip() or "print" not in block.code


@pytest.mark.parametrize("block", blocks(""), ids=by_name)
def test_magics_run_in_a_notebook(kernel: Kernel, block: Block) -> None:
    kernel.run("%load_ext bodhi_jupyter")

    kernel.run(block.code)


@pytest.mark.parametrize("block", blocks("config"), ids=by_name)
def test_a_configuration_is_understood(block: Block) -> None:
    config = Config()
    exec(block.code, {"c": config})
    extension = BodhiExtension(config=config)

    assert config.BodhiExtension
    for name, value in config.BodhiExtension.items():
        assert name in TRAITS
        assert getattr(extension, name) == value


@pytest.mark.parametrize("block", blocks("yaml"), ids=by_name)
def test_an_alias_is_one(block: Block) -> None:
    assert parse_text(block.code.encode()).alias


@pytest.mark.parametrize(
    ("block", "line"), [(block, line) for block in blocks("sh") for line in block.code.splitlines()]
)
def test_a_command_is_one(server: LiveServer, block: Block, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    if words[0].startswith("BODHI_"):
        name, _, value = words[0].partition("=")
        monkeypatch.setenv(name, value)
        assert value in (BodhiExtension().backend_url, BodhiExtension().backend_api_key)
        words = words[1:]
    if words[0] in {"eval", "curl"}:
        said = run(["sh", "-ec", block.code], server.environment, server.root)
        assert said.returncode == 0, said.stderr
        assert words[0] == "eval" or '"guide"' in said.stdout
    elif words[0] == "pip":
        _check_pip(words[1:])
    elif words[:2] == ["jupyter", "lab"]:
        assert any(name.startswith("jupyterlab") for name in PROJECT["optional-dependencies"]["lab"])
    elif words[0] == "jupyter":
        said = server.run(*words[1:])
        assert said.returncode == 0, said.stderr
    elif words[0] == "python":
        said = subprocess.run([sys.executable, *words[1:-1], "--help"], cwd=ROOT, capture_output=True, text=True)
        assert words[-1] in said.stdout
    else:
        assert words in (["pytest"], ["ssh", "-L", "8888:127.0.0.1:8888", "you@server"])


def _check_pip(words: list[str]) -> None:
    """What it installs is ours, one of our extras, a dependency of ours, or in a file that there is."""
    assert words[0] in {"install", "uninstall"}
    *options, what = words[1:]
    assert options in ([], ["-r"], ["--upgrade"])
    if options == ["-r"]:
        assert (ROOT / what).is_file()
        return
    name, extra = re.fullmatch(r"([\w.-]+?)(?:\[(\w+)\])?", what).groups()
    assert name in {".", PROJECT["name"], *(re.split(r"[^\w-]", one)[0] for one in PROJECT["dependencies"])}
    assert extra in {None, *PROJECT["optional-dependencies"]}


# -- names ---------------------------------------------------------------------------------------------------

#: Of OpenAI's, Ollama's and Anthropic's answers and clients, of Jupyter and of Python.
FOREIGN = {
    "finish_reason",
    "length",
    "image_url",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "param",
    "retry-after",
    "x-request-id",
    "system",
    "tool",
    "required",
    "base_url",
    "extra_body",
    "previous_response_id",
    "query",
    "documents",
    "default",
    "asyncio.gather",
    "await",
    ".gguf",
    "-GGUF",
    "bodhi",
    "OpenAI()",
    "AsyncOpenAI()",
    "jupyter_server_config.py",
    "SSL_CERT_FILE",
    "bodhi_",
    "model",
    "curl",
    "top_k",
    "bodhi/models",
    "bodhi/aliases",
    "gpu-box/its-model",
    "{expressions}",
    "c.BodhiExtension.…",
} | {"new OpenAI()", 'stream_options={"include_usage": True}', "https://hub.example.org/user/<name>/v1"}
FIELDS = {*AliasFile.model_fields, *ContextParams.model_fields, *RequestParams.model_fields, *ChatRequest.model_fields}


@pytest.mark.parametrize("span", sorted(spans()))
def test_a_name_is_known(span: str, server: LiveServer) -> None:
    if (
        (ROOT / span).exists()
        or (ROOT / "notebooks" / span).exists()
        or span == EMBEDDER.name
        or span in FOREIGN
        or span in TRAITS
        or span in FIELDS
        or span.removeprefix("c.BodhiExtension.") in TRAITS
    ):
        return
    if span.startswith(("/", "?")):
        assert _is_route(span), span
    elif span.startswith("jupyter "):
        if revoked := re.fullmatch(r"jupyter bodhi key revoke (\w+)", span):
            # Only a key that there is can be revoked; where an answer has made this one, it stays as it is.
            server.run("bodhi", "key", "create", "--name", revoked[1])
        said = run(["sh", "-c", span.partition(" |")[0]], server.environment, server.root)
        assert said.returncode == 0, said.stderr
    elif re.fullmatch(r"[A-Z_]+", span):
        assert f'"{span}"' in SOURCES
    elif span.startswith("pip "):
        _check_pip(shlex.split(span)[1:])
    elif span.startswith("%load_ext"):
        assert "def load_ipython_extension" in SOURCES
    elif "=" in span:
        assert span.partition("=")[0].split()[-1] in {*FIELDS, "BODHI_BACKEND_URL"}
    elif ": " in span:
        inside = span.partition(":")[0] in ContextParams.model_fields
        parse_text(f"alias: a\npath: b\n{f'context_params: {{{span}}}' if inside else span}".encode())
    elif span.startswith("%") or span.endswith("()") or span == "chat":
        assert _is_public(span)
    else:
        pytest.fail(f"nothing of ours: {span}")


def _is_route(span: str) -> bool:
    path = span.partition("?")[0]
    if path in {"", "/metrics", "/v1", "/api", "/user/<name>/"}:
        return True
    return any(re.fullmatch(str(route[0]), path) for route in ROUTES if route[0] != r"/v1(?:/.*)?")


def _is_public(span: str) -> bool:
    """A magic, or a function of the package."""
    name = re.match(r"%*(\w+)", span)[1]
    return name in SOURCES if span.startswith("%") else f'"{name}"' in SOURCES


SECTIONS_IN = re.compile(r"((?:\*[^*]+\*(?:, | and )?)+) in (?:the )?(README|`docs/\w+\.md`)")


@pytest.mark.parametrize(("where", "text"), [one for one in TEXTS if "section" in one[1] or SECTIONS_IN.search(one[1])])
def test_a_section_is_there(where: str, text: str) -> None:
    found = SECTIONS_IN.findall(text)
    assert found, text
    for sections, file in found:
        document = (ROOT / {"README": "README.md"}.get(file, file.strip("`"))).read_text(encoding="utf-8")
        for section in re.findall(r"\*([^*]+)\*", sections):
            assert f"# {section}\n" in document or f"\n**{section}.**" in document, (where, section)


@pytest.mark.parametrize(
    ("topic", "words", "value"),
    [
        ("timeout", "600 seconds", ("read_timeout", 600.0)),
        ("too_large", "64 MiB", ("max_body_bytes", 64 * 2**20)),
        ("keep_alive", "five idle minutes", ("keep_alive", 300.0)),
        ("memory", "Up to three models", ("max_loaded_models", 3)),
        ("context_exceeded", "1024 tokens", None),
        ("context_length", "1024 tokens", None),
        ("platforms", "Python 3.11", None),
        ("guide", "1 MB", None),
    ],
)
def test_a_number_is_right(topic: str, words: str, value: tuple[str, object] | None) -> None:
    assert words in dict(TEXTS)[topic]
    if value:
        assert getattr(BodhiExtension(), value[0]) == value[1]
    assert PROJECT["requires-python"] == ">=3.11"
