"""Starting, watching and ending engines: real processes, and real ways to lose one."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from bodhi_jupyter.backends.launch import EmbeddedLauncher, EngineSpec, child_environment
from bodhi_jupyter.backends.supervisor import EngineProcess
from bodhi_jupyter.catalog.context import ContextParams
from bodhi_jupyter.wire.errors import BackendUnavailable
from tests.offspring import Offspring

CHAT = "/v1/chat/completions"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals")


class Script:
    """A launcher whose child is a few lines of Python."""

    def __init__(self, source: str) -> None:
        self.source = source

    def unavailable(self) -> str | None:
        return None

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.source]

    def configuration(self, spec: EngineSpec, api_key: str) -> dict[str, Any]:
        return {"api_key": api_key, "model_path": str(spec.model_path)}


async def start(launcher: Any, model: Path, **context: Any) -> EngineProcess:
    return await EngineProcess.start(launcher, EngineSpec("tiny", model, ContextParams(**context)), start_timeout=60)


def ended(pid: int) -> bool:
    """Whether a process has ended that may be nobody's child."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def offspring() -> Offspring:
    return Offspring()


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("engine-")]


def assert_nothing_left(offspring: Offspring) -> None:
    for thread in engine_threads():
        thread.join(10)
    assert engine_threads() == []
    assert offspring.children() == []


def test_stop_leaves_no_process_thread_or_descriptor(tiny_model: Path, offspring: Offspring) -> None:
    async def main() -> None:
        process = await start(EmbeddedLauncher(), tiny_model)
        assert psutil.pid_exists(process.pid)
        await process.stop()
        assert process.exited.is_set()
        assert process.returncode == 0
        await process.stop()  # again is allowed

    asyncio.run(main())
    gc.collect()
    before = open_files()
    asyncio.run(main())
    gc.collect()
    assert_nothing_left(offspring)
    assert open_files() == before


def open_files() -> int:
    me = psutil.Process()
    return me.num_handles() if sys.platform == "win32" else me.num_fds()


@POSIX
def test_a_kill_is_noticed_and_named(engine, tiny_model: Path, offspring: Offspring) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (process, _):
            os.kill(process.pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                await process.exited.wait()
            assert process.returncode == -signal.SIGKILL
            assert "SIGKILL" in process.why_it_died()
            assert "'tiny'" in process.why_it_died()

    asyncio.run(main())
    assert_nothing_left(offspring)


@POSIX
def test_an_interrupt_does_not_end_it(engine, tiny_model: Path) -> None:
    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (process, client):
            os.kill(process.pid, signal.SIGINT)
            answer = await client.post(CHAT, json={"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1})
            assert answer.status_code == 200
            assert not process.exited.is_set()

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_key_is_nowhere_to_be_read(engine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BODHI_BACKEND_API_KEY", "a-secret-of-ours")
    monkeypatch.setenv("LLAMA_API_KEY", "a-key-of-somebody-else")

    async def main() -> None:
        async with engine(EngineSpec("tiny", tiny_model)) as (process, client):
            key = process.address.headers["Authorization"].removeprefix("Bearer ").encode()
            proc = Path("/proc") / str(process.pid)
            assert key not in (proc / "cmdline").read_bytes()
            environment = (proc / "environ").read_bytes()
            assert key not in environment
            assert b"a-secret-of-ours" not in environment
            stranger = {"Authorization": "Bearer a-key-of-somebody-else"}
            assert (await client.get("/v1/models", headers=stranger)).status_code == 401

    asyncio.run(main())


def test_the_key_stays_out_of_what_is_shown(tiny_model: Path) -> None:
    async def main() -> None:
        process = await start(EmbeddedLauncher(), tiny_model)
        key = process.address.headers["Authorization"].removeprefix("Bearer ")
        assert key not in repr(process.address)
        await process.stop()

    asyncio.run(main())


def broken(tmp_path: Path, tiny_model: Path, kind: str) -> Path:
    path = tmp_path / "a folder" / f"{kind}.gguf"
    path.parent.mkdir()
    whole = tiny_model.read_bytes()
    contents = {
        "junk": b"this is no model" * 100,
        "truncated": whole[: len(whole) // 2],
        "unknown": whole.replace(b"llama", b"lxama", 1),
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("junk", "invalid magic characters"),
        ("truncated", "model is corrupted or incomplete"),
        ("unknown", "unknown model architecture: 'lxama'"),
        ("missing", "failed to open GGUF file 'missing.gguf' (No such file or directory)"),
    ],
)
def test_a_file_that_cannot_be_loaded(
    tmp_path: Path, tiny_model: Path, kind: str, reason: str, offspring: Offspring
) -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable) as caught:
            await start(EmbeddedLauncher(), broken(tmp_path, tiny_model, kind))
        message = caught.value.message
        assert message.startswith("The model 'tiny' could not be loaded: ")
        assert reason in message
        assert "a folder" not in message
        assert "/" not in message

    asyncio.run(main())
    assert_nothing_left(offspring)


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({"lora": ["/nowhere/in particular/adapter.gguf"]}, "failed to open 'adapter.gguf': No such file"),
        ({"mmproj": "/nowhere/projector.gguf"}, "projector.gguf"),
        ({"chat_template": "{% for x"}, "Expected 'in'"),  # llama.cpp's words for a template that breaks off
        ({"cache_type_v": "q8_0", "flash_attention": False}, "quantized V cache requires flash_attn"),
        ({"extra_args": ["--verbose"]}, "`extra_args`"),
    ],
)
def test_parameters_that_cannot_work(
    tiny_model: Path, context: dict[str, Any], reason: str, offspring: Offspring
) -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable) as caught:
            await start(EmbeddedLauncher(), tiny_model, **context)
        assert reason in caught.value.message
        assert "nowhere" not in caught.value.message

    asyncio.run(main())
    assert_nothing_left(offspring)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "this version cannot be used (cannot import name 'Server' from 'x' (/home/ann/lib/x/__init__.py))",
            "this version cannot be used (cannot import name 'Server' from 'x' (__init__.py)).",
        ),
        ("/home/ann/lib/x/x.so: undefined symbol: ggml_init", "x.so: undefined symbol: ggml_init."),
        ("/srv/some models/m.gguf is no model", "m.gguf is no model."),
        ("not with this key: {api_key}", "not with this key: ***."),
    ],
)
def test_what_the_child_says_is_shown_without_what_is_internal(said: str, reason: str, offspring: Offspring) -> None:
    answer = "import json, sys; key = json.loads(sys.stdin.readline())['api_key']; "
    source = f"{answer}print(json.dumps({{'error': {said!r}.replace('{{api_key}}', key)}}))"

    async def main() -> None:
        with pytest.raises(BackendUnavailable) as caught:
            await start(Script(source), Path("/srv/some models/m.gguf"))
        assert caught.value.message == f"The model 'tiny' could not be loaded: {reason}"

    asyncio.run(main())
    assert_nothing_left(offspring)


def test_an_engine_that_is_not_installed(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, offspring: Offspring
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    async def main() -> None:
        with pytest.raises(BackendUnavailable, match="pip install xllamacpp"):
            await start(EmbeddedLauncher(), tiny_model)

    asyncio.run(main())
    assert_nothing_left(offspring)


def test_a_load_that_takes_too_long_is_ended(slow_model: Path, offspring: Offspring) -> None:
    async def main() -> None:
        with pytest.raises(BackendUnavailable, match=r"within 0\.5 seconds"):
            await EngineProcess.start(EmbeddedLauncher(), EngineSpec("slow", slow_model), start_timeout=0.5)

    asyncio.run(main())
    assert_nothing_left(offspring)


@pytest.mark.parametrize("begun", [False, True])
def test_cancelling_a_load_kills_it(slow_model: Path, begun: bool, eventually, offspring: Offspring) -> None:
    async def main() -> None:
        loading = asyncio.create_task(start(EmbeddedLauncher(), slow_model))
        await eventually(lambda: offspring.children() or not begun)
        await asyncio.sleep(0)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    asyncio.run(main())
    assert_nothing_left(offspring)


@POSIX
def test_a_kill_during_the_load(slow_model: Path, eventually, offspring: Offspring) -> None:
    async def main() -> None:
        loading = asyncio.create_task(start(EmbeddedLauncher(), slow_model))
        await eventually(offspring.children)
        offspring.children()[0].kill()
        with pytest.raises(BackendUnavailable, match="SIGKILL"):
            await loading

    asyncio.run(main())
    assert_nothing_left(offspring)


PARENT = """
import asyncio, sys
from pathlib import Path
from bodhi_jupyter.backends.launch import EmbeddedLauncher, EngineSpec
from bodhi_jupyter.backends.supervisor import EngineProcess

async def main():
    process = EngineProcess.start(EmbeddedLauncher(), EngineSpec("tiny", Path(sys.argv[1])), start_timeout=60)
    print((await process).pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@POSIX
def test_no_engine_outlives_a_killed_server(tiny_model: Path, eventually) -> None:
    command = [sys.executable, "-c", PARENT, str(tiny_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment()) as server:
        assert server.stdout is not None
        engine_pid = int(server.stdout.readline())
        assert psutil.pid_exists(engine_pid)
        server.kill()
    asyncio.run(eventually(lambda: ended(engine_pid)))


@POSIX
def test_no_engine_outlives_a_server_killed_during_a_load(slow_model: Path, eventually) -> None:
    command = [sys.executable, "-c", PARENT, str(slow_model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment()) as server:
        family = psutil.Process(server.pid)
        asyncio.run(eventually(family.children))
        engine_pid = family.children()[0].pid
        server.kill()
    asyncio.run(eventually(lambda: ended(engine_pid)))


def test_a_loop_that_closes_first_harms_nobody(tiny_model: Path, offspring: Offspring) -> None:
    async def main() -> EngineProcess:
        return await start(EmbeddedLauncher(), tiny_model)

    process = asyncio.run(main())
    psutil.Process(process.pid).kill()
    assert_nothing_left(offspring)


def test_a_child_that_will_not_listen_is_killed(tiny_model: Path, offspring: Offspring) -> None:
    deaf = "import sys, time; sys.stdin.readline(); print('{\"port\": 1}', flush=True); time.sleep(600)"

    async def main() -> None:
        process = await start(Script(deaf), tiny_model)
        await process.stop(grace=0.1)
        assert process.returncode not in {0, None}

    asyncio.run(main())
    assert_nothing_left(offspring)


def test_the_last_words_of_a_crash_are_the_reason(tiny_model: Path) -> None:
    crash = (
        "import sys; sys.stdin.readline(); print('{\"port\": 1}', flush=True);"
        "sys.stderr.write('0.00.001 E old: error of long ago\\n');"
        "sys.exit('/build/ggml/src/ggml.c:17: GGML_ASSERT(n > 0) failed at http://127.0.0.1:81/x')"
    )

    async def main() -> None:
        process = await start(Script(crash), tiny_model)
        await process.exited.wait()
        assert process.why_it_died() == (
            "The engine of the model 'tiny' ended unexpectedly: its process ended with exit code 1 "
            "(ggml.c:17: GGML_ASSERT(n > 0) failed at an address)."
        )
        await process.stop()

    asyncio.run(main())


def test_of_a_line_that_does_not_end_the_beginning_is_kept(tiny_model: Path) -> None:
    endless = (
        "import sys; sys.stdin.readline(); print('{\"port\": 1}', flush=True);"
        "sys.stderr.write('error: ' + '0123456789' * 30_000);"
        "sys.stderr.flush(); sys.stdin.read(); sys.stderr.write('\\nthe end\\n')"
    )

    async def main() -> None:
        process = await start(Script(endless), tiny_model)
        async with asyncio.timeout(20):
            # It is told before it ends: an engine may print dots for as long as it lives.
            while not process.last_lines:
                await asyncio.sleep(0.01)
        await process.stop()
        first, last = process.last_lines
        assert first.startswith("error: 0123456789")
        assert len(first) < 1100
        assert last == "the end"

    asyncio.run(main())


def test_a_command_that_does_not_exist(tiny_model: Path, offspring: Offspring) -> None:
    class Missing(Script):
        def command(self) -> list[str]:
            return ["/nowhere/python"]

    async def main() -> None:
        with pytest.raises(BackendUnavailable) as caught:
            await start(Missing(""), tiny_model)
        assert "nowhere" not in caught.value.message

    asyncio.run(main())
    assert_nothing_left(offspring)


def test_a_long_configuration_arrives_whole(tiny_model: Path) -> None:
    echo = "import json, sys; print(json.dumps({'port': len(sys.stdin.readline())}), flush=True); sys.stdin.read()"
    long_path = Path("x" * 300_000)

    async def main() -> None:
        process = await start(Script(echo), long_path)
        length = int(process.address.url.rpartition(":")[2])
        key = process.address.headers["Authorization"].removeprefix("Bearer ")
        assert length == len(json.dumps({"api_key": key, "model_path": str(long_path)})) + 1
        await process.stop()

    asyncio.run(main())
