"""A llama-server binary behind its watcher; the binary is a script that behaves like one."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bodhi_jupyter.backends.launch import BinaryLauncher, EngineSpec
from bodhi_jupyter.backends.supervisor import EngineProcess
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.wire.errors import BackendUnavailable
from tests.offspring import Offspring

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the script needs a shebang line")

#: Loads (answering 503 on /health) until it was asked three times; its ways to fail are `--stuck`, `--mute`,
#: `--crash`, `--killed`.
FAKE = """#!{python}
import http.server, json, os, signal, sys, time

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

if "--killed" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
if "--crash" in sys.argv:
    print("llama_model_load: error loading model: cannot read " + option("--model"), file=sys.stderr)
    sys.exit(3)
with open(option("--api-key-file")) as file:
    KEY = file.read().strip()
if "--mute" in sys.argv:
    time.sleep(600)
asked = 0

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        status = 200
        if self.path == "/health":
            asked += 1
            status = 200 if asked > 3 and "--stuck" not in sys.argv else 503
        elif self.headers["Authorization"] != "Bearer " + KEY:
            status = 401
        body = json.dumps({{"pid": os.getpid(), "arguments": sys.argv, "environment": dict(os.environ)}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.HTTPServer((option("--host"), int(option("--port"))), Handler)
{announcement}
server.serve_forever()
"""
NOW = 'print("srv  main: listening on http://127.0.0.1:%d" % server.server_port, flush=True)'
BEFORE = (
    'print("main: HTTP server is listening, hostname: 127.0.0.1, port: %d, http threads: 3" '
    "% server.server_port, file=sys.stderr, flush=True)"
)


@pytest.fixture(params=[NOW, BEFORE], ids=["new log", "old log"])
def binary(request: pytest.FixtureRequest, tmp_path: Path) -> BinaryLauncher:
    path = tmp_path / "llama-server"
    path.write_text(FAKE.format(python=sys.executable, announcement=request.param))
    path.chmod(0o755)
    return BinaryLauncher(str(path))


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the watcher puts its key file."""
    folder = tmp_path / "keys"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


async def start(launcher: BinaryLauncher, model: Path, **context: Any) -> EngineProcess:
    spec = EngineSpec("tiny", model, ContextParams(**context))
    return await EngineProcess.start(launcher, spec, start_timeout=60)


async def facts(process: EngineProcess) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False, headers=process.address.headers) as client:
        return (await client.get(f"{process.address.url}/facts")).raise_for_status().json()


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def any_file(folder: Path) -> bool:
    return any(folder.iterdir())


def test_it_answers_with_a_key_that_nobody_can_read(
    binary: BinaryLauncher, tiny_model: Path, keys: Path, eventually
) -> None:
    async def main() -> None:
        process = await start(binary, tiny_model, extra_args=["--mlock"])
        try:
            told = await facts(process)
            key = process.address.headers["Authorization"].removeprefix("Bearer ")
            assert "--mlock" in told["arguments"]
            assert key not in " ".join(told["arguments"])
            assert key not in " ".join(told["environment"].values())
            assert not any_file(keys)
            async with httpx.AsyncClient(trust_env=False) as stranger:
                assert (await stranger.get(f"{process.address.url}/facts")).status_code == 401
        finally:
            await process.stop()
        await eventually(lambda: ended(told["pid"]))

    asyncio.run(main())


def test_it_dies_with_its_watcher_and_the_watcher_with_it(binary: BinaryLauncher, tiny_model: Path, eventually) -> None:
    async def main() -> None:
        process = await start(binary, tiny_model)
        told = await facts(process)
        os.kill(process.pid, signal.SIGKILL)
        await process.exited.wait()
        await eventually(lambda: ended(told["pid"]))
        await process.stop()

        process = await start(binary, tiny_model)
        told = await facts(process)
        os.kill(told["pid"], signal.SIGKILL)
        await process.exited.wait()
        assert process.returncode == -signal.SIGKILL
        assert process.why_it_died() == (
            "The engine of the model 'tiny' ended unexpectedly: its process was ended by SIGKILL, perhaps for lack of "
            "memory."
        )
        await process.stop()

    asyncio.run(main())


def test_a_load_that_is_killed_says_so(binary: BinaryLauncher, tiny_model: Path) -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable, match="was ended by SIGKILL, perhaps for lack of memory"):
            await start(binary, tiny_model, extra_args=["--killed"])

    asyncio.run(main())


def test_a_load_that_fails_says_why(binary: BinaryLauncher, tiny_model: Path, keys: Path) -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable) as caught:
            await start(binary, tiny_model, extra_args=["--crash"])
        assert caught.value.message == (
            f"The model 'tiny' could not be loaded: error loading model: cannot read {tiny_model.name}."
        )
        assert not any_file(keys)

    asyncio.run(main())


def test_cancelling_a_load_leaves_no_binary(binary: BinaryLauncher, tiny_model: Path, keys: Path, eventually) -> None:
    offspring = Offspring()

    async def main() -> None:
        loading = asyncio.create_task(start(binary, tiny_model, extra_args=["--stuck"]))
        # Once its watcher has started it.
        await eventually(offspring.grandchildren)
        (binary_process,) = offspring.grandchildren()
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        await eventually(lambda: ended(binary_process.pid))

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [60, 0.5])
def test_a_load_that_comes_to_nothing_leaves_no_key(
    binary: BinaryLauncher, tiny_model: Path, keys: Path, eventually, seconds: float
) -> None:
    """It is cancelled, or takes too long, before the server has said that it read the key."""

    async def main() -> None:
        spec = EngineSpec("tiny", tiny_model, ContextParams(extra_args=["--mute"]))
        loading = asyncio.create_task(EngineProcess.start(binary, spec, start_timeout=seconds))
        if seconds > 1:
            await eventually(lambda: any_file(keys))
            loading.cancel()
        with pytest.raises((asyncio.CancelledError, BackendUnavailable)):
            await loading
        assert not any_file(keys)

    asyncio.run(main())


def test_a_parent_that_dies_leaves_no_key(binary: BinaryLauncher, tiny_model: Path, keys: Path, eventually) -> None:
    spec = EngineSpec("tiny", tiny_model, ContextParams(extra_args=["--mute"]))
    configuration = json.dumps(binary.configuration(spec, "secret")).encode() + b"\n"

    async def main() -> None:
        with subprocess.Popen(binary.command(), stdin=subprocess.PIPE) as watcher:  # noqa: ASYNC220
            assert watcher.stdin is not None
            watcher.stdin.write(configuration)
            watcher.stdin.flush()
            await eventually(lambda: any_file(keys))
            watcher.stdin.close()
            await eventually(lambda: watcher.poll() is not None)
        assert not any_file(keys)

    asyncio.run(main())


def test_a_binary_that_is_not_there(tiny_model: Path) -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable, match="not there"):
            await start(BinaryLauncher("/nowhere/llama-server"), tiny_model)

    asyncio.run(main())
