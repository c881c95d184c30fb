"""What is measured: each subject in processes of its own, or left out with a word."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 90.0
_ROOT = Path(__file__).parents[1]
#: Those of a server for many, which no measurement reaches.
_LIMITS = {"user": {"requests_per_minute": 10**9, "tokens_per_day": 10**12}, "alias": {"*": {"streams": 10**6}}}
_OPENAI, _OLLAMA = "/v1/chat/completions", "/api/chat"


@dataclass(frozen=True)
class Subject:
    """One way to the upstream.

    Attributes:
        port: where it listens, on the loopback address.
        pids: the processes that it consists of, with their children.
        path: where a chat is posted.
        headers: what opens it.
        dialect: ``openai`` or ``ollama``.
        streams: whether it can.
        model: what is asked for.
        token: of the Jupyter server that it is a part of, or "".
    """

    name: str
    port: int
    pids: list[int]
    path: str = _OPENAI
    headers: Mapping[str, str] = field(default_factory=dict)
    dialect: str = "openai"
    streams: bool = True
    model: str = "fake-model"
    token: str = ""

    def request(self, *, stream: bool, chunks: int, rate: int = 0, padding: int = 0) -> bytes:
        """A chat as it goes over the wire: `chunks` of answer, `rate` of them a second, `padding` bytes of prompt."""
        document: dict[str, Any] = {"model": self.model}
        document["messages"] = [{"role": "user", "content": "word " * (padding // 5)}]
        # As the SDKs send it: OpenAI's says when it streams, Ollama's also when it does not.
        if self.dialect == "openai":
            document |= {"max_tokens": chunks, "seed": rate, **({"stream": True} if stream else {})}
        else:
            document["stream"] = stream
            document["options"] = {"num_predict": chunks, "seed": rate}
        body = json.dumps(document).encode()
        # jupyter-server-proxy streams for nobody who does not say so.
        accept = "text/event-stream" if stream else "application/json"
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Accept: {accept}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def status_request(self) -> bytes:
        """What a Jupyter server is asked while others stream; nothing of what is none."""
        if not self.token:
            return b""
        lines = ["GET /api/status HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Authorization: Bearer {self.token}"]
        return "\r\n".join([*lines, "", ""]).encode()


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def python(*arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of this Python that ends with the context."""
    with running(
        [sys.executable, *arguments], env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    ) as process:
        yield process


@contextmanager
def running(
    command: list[str], env: Mapping[str, str] | None = None, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the context."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), **(env or {})}
    process = subprocess.Popen(command, env=environment, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@contextmanager
def upstream() -> Iterator[Subject]:
    """The fake llama.cpp, asked directly."""
    with python("-m", "benchmarks.upstream") as process:
        assert process.stdout is not None
        yield Subject("direct", int(process.stdout.readline()), [process.pid])


@contextmanager
def jupyter(
    folder: Path, extensions: Mapping[str, bool], config: Mapping[str, Any], upstream_port: int
) -> Iterator[tuple[int, int, str]]:
    """A Jupyter server with these extensions: its port, process id and token."""
    token, port = secrets.token_hex(16), free_port()
    for name in ("config", "data", "runtime", "root", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    server = {
        "port": port,
        "port_retries": 0,
        "root_dir": str(folder / "root"),
        "open_browser": False,
        "allow_root": True,
        "jpserver_extensions": {"bodhi_jupyter": False, "jupyter_server_proxy": False, **extensions},
    }
    sections = {"ServerApp": server, "IdentityProvider": {"token": token}, **config}
    (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(sections))
    environment = {
        "HOME": str(folder / "home"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "BENCHMARK_UPSTREAM": f"http://127.0.0.1:{upstream_port}",
    }
    command = [sys.executable, "-m", "jupyter_server"]
    with (folder / "server.log").open("w") as log, running(command, environment, stdout=log, stderr=log) as process:
        wait_for(port, "/api/status", token, process)
        yield port, process.pid, token


@contextmanager
def gateway(
    folder: Path, upstream_port: int, name: str, *more_extensions: str, **traits: Any
) -> Iterator[tuple[Subject, Subject]]:
    """Ours: with the Jupyter token, and with a scoped key; everything is on, limits that nobody reaches among it."""
    own = {"backend_url": f"http://127.0.0.1:{upstream_port}", "max_requests": 4000, "limits": _LIMITS}
    config = {"BodhiExtension": {**own, **traits}}
    extensions = dict.fromkeys(("bodhi_jupyter", *more_extensions), True)
    with jupyter(folder, extensions, config, upstream_port) as (port, pid, token):
        key = post(port, "/bodhi/v1/keys", token, {"name": "benchmark"})["key"]
        wait_for(port, "/v1/models", token)
        yield (
            Subject(f"{name}, Jupyter token", port, [pid], headers=bearer(token), token=token),
            Subject(f"{name}, scoped key", port, [pid], headers=bearer(key), token=token),
        )


@contextmanager
def peers(folder: Path, upstream_port: int) -> Iterator[tuple[Subject, Subject]]:
    """The floor, and stock httpx in a handler."""
    with jupyter(folder, {"benchmarks.peers": True}, {}, upstream_port) as (port, pid, token):
        yield (
            Subject("floor", port, [pid], "/floor", bearer(token), streams=False),
            Subject("stock httpx in a handler", port, [pid], "/httpx", bearer(token)),
        )


@contextmanager
def server_proxy(folder: Path, upstream_port: int) -> Iterator[Subject]:
    """jupyter-server-proxy."""
    with jupyter(folder, {"jupyter_server_proxy": True}, {}, upstream_port) as (port, pid, token):
        path = f"/proxy/{upstream_port}{_OPENAI}"
        yield Subject("jupyter-server-proxy", port, [pid], path, bearer(token), token=token)


@contextmanager
def nginx(folder: Path, upstream_port: int, program: str) -> Iterator[Subject]:
    """Nginx with one worker, unbuffered, its connections kept."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = " ".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder / 'pid'}; error_log {folder / 'error.log'};"
        "events { worker_connections 4096; }"
        f"http {{ access_log off; keepalive_requests 100000000; {temporary} "
        "client_max_body_size 64m; client_body_buffer_size 1m;"
        f"upstream model {{ server 127.0.0.1:{upstream_port}; keepalive 64; keepalive_requests 100000000; }}"
        f"server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ proxy_pass http://model;"
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }'
    )
    with running([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        wait_for(port, "/v1/models", "", process)
        yield Subject("nginx", port, [process.pid])


@contextmanager
def litellm(folder: Path, upstream_port: int, program: str) -> Iterator[Subject]:
    """LiteLLM's proxy, with no database and no telemetry."""
    port, key = free_port(), "sk-" + secrets.token_hex(12)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {"model": "openai/fake-model", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    models = {"model_list": [{"model_name": "fake-model", "litellm_params": parameters}]}
    (folder / "config.yaml").write_text(json.dumps({**models, "general_settings": {"master_key": key}}))
    command = [program, "--config", str(folder / "config.yaml"), "--port", str(port), "--host", "127.0.0.1"]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    with (
        (folder / "log").open("w") as log,
        running([*command, "--telemetry", "False"], env, stdout=log, stderr=log) as p,
    ):
        wait_for(port, "/v1/models", key, p)
        yield Subject("LiteLLM", port, [p.pid], headers=bearer(key))


@contextmanager
def all_subjects(folder: Path, direct: Subject, say: Callable[[str], None]) -> Iterator[list[Subject]]:
    """Everything that is installed here, in the order of the tables."""
    with ExitStack() as stack:
        floor, httpx = stack.enter_context(peers(folder / "peers", direct.port))
        token, scoped = stack.enter_context(gateway(folder / "ours", direct.port, "bodhi OpenAI"))
        subjects = [direct, floor]
        if program := shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"):
            subjects += _started(stack, nginx(folder / "nginx", direct.port, program), "nginx", say)
        else:
            say("nginx is left out: it is not installed.")
        subjects += [token, scoped, _as_ollama(token), _as_ollama(scoped)]
        if importlib.util.find_spec("jupyter_server_proxy"):
            subjects += _started(stack, server_proxy(folder / "proxy", direct.port), "jupyter-server-proxy", say)
        else:
            say("jupyter-server-proxy is left out: it is not installed.")
        subjects.append(httpx)
        if program := shutil.which("litellm", path=sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"]):
            subjects += _started(stack, litellm(folder / "litellm", direct.port, program), "LiteLLM", say)
        else:
            say("LiteLLM is left out: it is not installed.")
        yield subjects


def _started(
    stack: ExitStack, subject: AbstractContextManager[Subject], name: str, say: Callable[[str], None]
) -> list[Subject]:
    """The subject for as long as the stack is open; none where it does not start, which is said."""
    try:
        return [stack.enter_context(subject)]
    except OSError:
        say(f"{name} is left out: it does not start.")
        return []


def _as_ollama(subject: Subject) -> Subject:
    return replace(subject, name=subject.name.replace("OpenAI", "Ollama"), path=_OLLAMA, dialect="ollama")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str, key: str = "") -> bytes:
    """What is answered there."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=bearer(key) if key else {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
        return bytes(response.read())


def wait_for(port: int, path: str, key: str, process: subprocess.Popen[str] | None = None) -> None:
    """Until it answers.

    Raises:
        OSError: it did not in a minute and a half, or the process that was to has ended.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            get(port, path, key)
        except OSError:
            has_ended = process is not None and process.poll() is not None
            if has_ended or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def post(port: int, path: str, key: str, document: Any) -> Any:
    """What is answered to JSON there, as JSON."""
    headers = {**bearer(key), "Content-Type": "application/json"}
    body = json.dumps(document).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        return json.loads(response.read())
