"""A Jupyter server in a process of its own, apart from everything that belongs to whoever runs the tests."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import psutil

from tests.tiny_random import NAME, write_tiny_random

#: What a developer's machine may have set, and what would then decide a test.
_FOREIGN = (
    *("OPENAI_", "AZURE_OPENAI_", "ANTHROPIC_", "CLAUDE_CODE_", "OLLAMA_", "BODHI_", "LLAMA_"),
    *("JUPYTER", "JPY_", "HF_", "HUGGINGFACE_", "XDG_"),
)
#: Only a hang reaches it.
PATIENCE = 90.0


def own_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a person whose home is `folder`, who has set nothing but `more`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }
    scripts = sysconfig.get_path("scripts")
    return {
        **inherited,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        "HOME": str(folder / "home"),
        "USERPROFILE": str(folder / "home"),
        "IPYTHONDIR": str(folder / "home" / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        **more,
    }


def jupyter(*arguments: str) -> list[str]:
    """A ``jupyter`` command of this Python environment."""
    found = shutil.which("jupyter", path=sysconfig.get_path("scripts"))
    assert found, "jupyter is not installed beside this Python"
    return [found, *arguments]


def eventually(condition: Any, what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer of `condition`; fails, naming `what`, after a bound that only a hang reaches."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return answer


def with_tiny_random(folder: Path) -> dict[str, dict[str, Any]]:
    """The configuration of a server below `folder` whose default model writes words for as long as it may."""
    models = folder / "data" / "bodhi" / "models"
    models.mkdir(parents=True)
    write_tiny_random(models / f"{NAME}.gguf")
    return {"BodhiExtension": {"default_model": NAME}}


class LiveServer:
    """``jupyter server``, ``jupyter lab`` or ``jupyter bodhi``, until the context is left.

    Args:
        folder: everything that the server writes is in it; the notebooks are in its ``root``.
        command: which of them.
        config: sections of ``jupyter_server_config.json``, such as ``BodhiExtension``.
        env: variables of whoever starts it; the authority that ``SSL_CERT_FILE`` names is trusted by the tests, too.

    Attributes:
        url: without a trailing slash, with the base URL; its host means nothing where there is a socket.
        socket: the Unix socket that it listens on, or "".
    """

    def __init__(
        self,
        folder: Path,
        command: str = "server",
        config: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.token = secrets.token_hex(16)
        self.environment = own_environment(folder, **(env or {}))
        self.root = folder / "root"
        self.url = ""
        self.socket = ""
        self.trusted = ssl.create_default_context(cafile=self.environment.get("SSL_CERT_FILE"))
        self._command = command
        self._log = folder / "server.log"
        for name in ("home", "root", "config", "data", "runtime"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        sections = {name: dict(section) for name, section in (config or {}).items()}
        app = sections.setdefault("ServerApp", {})
        app["root_dir"] = str(self.root)
        if "sock" not in app:
            app.setdefault("port", 0)
        self.token = sections.setdefault("IdentityProvider", {}).setdefault("token", self.token)
        (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(sections))
        self._runtime = folder / "runtime"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                jupyter(self._command, "--allow-root", "--no-browser"),
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            info = eventually(self._info, "the server's runtime file")
            self.socket = info["sock"]
            scheme = "https" if info["secure"] else "http"
            self.url = f"{scheme}://127.0.0.1:{info['port']}{info['base_url'].rstrip('/')}"
            eventually(self._answers, "the server")
        except BaseException:
            self.stop()
            print(self.log())
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def client(self, key: str | None = None) -> httpx.Client:
        """An HTTP client with the server's token, with another key, or with none if it is empty."""
        key = self.token if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.HTTPTransport(verify=self.trusted, uds=self.socket or None, trust_env=False)
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False, transport=transport)

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        with self.client(key) as client:
            return client.get(path)

    def chat(self, content: str = "hello", key: str | None = None, **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": content}]
        with self.client(key) as client:
            return client.post(
                "/v1/chat/completions", json={"model": "default", "messages": messages, "max_tokens": 4, **more}
            )

    def family(self) -> list[psutil.Process]:
        """The server's children and theirs, kernels and engines."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def engines(self) -> list[psutil.Process]:
        return [child for child in self.family() if _is_engine(child)]

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """A ``jupyter`` command in a terminal of the same person."""
        return run(jupyter(*arguments), {**self.environment, **(env or {})}, self.root)

    def stop(self) -> int:
        """Ask it to end, and kill what is left; its exit code."""
        family = self.family() if self.process.poll() is None else []
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE / 3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def _info(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, f"the server ended:\n{self.log()}"
        for path in self._runtime.glob("jpserver-*.json"):
            with suppress(ValueError):
                return dict(json.loads(path.read_text()))
        return None

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the server ended:\n{self.log()}"
        if self.socket and not _listens(self.socket):
            return False
        with suppress(httpx.TransportError):
            return self.get("/api/status").status_code in {200, 403}  # with its token, or with a password
        return False


def _listens(path: str) -> bool:
    """Whether a server listens at this socket: httpx leaves its own unclosed where none does."""
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(path) == 0


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself; its output as text."""
    return subprocess.run(
        command, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _is_engine(process: psutil.Process) -> bool:
    return runs(process, "bodhi_jupyter.backends.engine")


def runs(process: psutil.Process, module: str) -> bool:
    """Whether it runs this module."""
    try:
        return module in process.cmdline()
    except psutil.NoSuchProcess:  # gone since it was listed, or waiting to be
        return False
