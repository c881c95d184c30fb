from __future__ import annotations

import ast
import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets.config import Config, LoggingConfigurable

from bodhi_jupyter.access import provisioner
from bodhi_jupyter.access.keys import KeyRing
from bodhi_jupyter.access.provisioner import (
    JUPYTERS_OWN,
    PROVISIONER,
    BodhiProvisioner,
    KernelAccess,
    find_access,
    make_default,
    restore_default,
)
from bodhi_jupyter.wire.provider_variables import PROVIDERS

USERS_OWN = {name for provider in PROVIDERS for name in provider.names}


@pytest.fixture(autouse=True)
def hermetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in USERS_OWN | {name for name in os.environ if name.lower().endswith("_proxy")}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))


@asynccontextmanager
async def kernels(server: LoggingConfigurable, tmp_path: Path, **traits: Any) -> AsyncIterator[AsyncMultiKernelManager]:
    """The kernel managers as a Jupyter server has them, with every kernel ended on leaving."""
    manager = AsyncMultiKernelManager(parent=server, connection_dir=str(tmp_path), **traits)
    try:
        yield manager
    finally:
        await manager.shutdown_all(now=True)
        manager.context.term()


async def environment_of(kernel: AsyncKernelManager) -> dict[str, str]:
    """What a cell of this kernel sees in `os.environ`."""
    printed: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    client = kernel.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        await client.execute_interactive(
            "import os; print(dict(os.environ))", output_hook=collect, timeout=60, store_history=False
        )
    finally:
        client.stop_channels()
    found: dict[str, str] = ast.literal_eval("".join(printed))
    return found


def write_kernelspec(folder: Path, name: str, argv: list[str], **fields: Any) -> KernelSpecManager:
    (folder / name).mkdir(parents=True)
    spec = {"argv": argv, "display_name": name, "language": "python", **fields}
    (folder / name / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)


@pytest.fixture
def minted(access: KernelAccess, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys, as they are made."""
    minted: list[str] = []
    mint = access.keys.mint

    def remember(holder: str) -> str:
        minted.append(mint(holder))
        return minted[-1]

    monkeypatch.setattr(access.keys, "mint", remember)
    return minted


# -- real kernels ------------------------------------------------------------------------------------------------


def test_a_kernel_has_its_key_for_as_long_as_it_lives(factory, server, access, base_url, tmp_path) -> None:
    async def main() -> None:
        assert make_default(server)
        async with kernels(server, tmp_path) as manager:
            kernel_id = await manager.start_kernel()
            kernel = manager.get_kernel(kernel_id)
            assert isinstance(kernel.provisioner, BodhiProvisioner)

            env = await environment_of(kernel)
            first = env["OPENAI_API_KEY"]
            assert env["OPENAI_BASE_URL"] == f"{base_url}/v1"
            assert env["OLLAMA_HOST"] == env["ANTHROPIC_BASE_URL"] == base_url
            assert env["OLLAMA_API_KEY"] == env["ANTHROPIC_AUTH_TOKEN"] == first
            assert {"127.0.0.1", "localhost"} <= set(env["NO_PROXY"].split(",")) & set(env["no_proxy"].split(","))
            holder = access.keys.verify(first)
            assert holder is not None
            assert holder.holder == f"kernel:{kernel_id}"

            await manager.restart_kernel(kernel_id)
            second = (await environment_of(kernel))["OPENAI_API_KEY"]
            assert second != first
            assert access.keys.verify(first) is None
            assert access.keys.verify(second) is not None

            await manager.shutdown_kernel(kernel_id)
            assert access.keys.verify(second) is None

    asyncio.run(main())


@pytest.fixture
def sleeper(tmp_path: Path) -> KernelSpecManager:
    """Of a kernel that starts at once and says nothing."""
    return write_kernelspec(tmp_path / "specs", "sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])


@asynccontextmanager
async def sleeping(server: LoggingConfigurable, tmp_path: Path, specs: KernelSpecManager) -> AsyncIterator[Any]:
    """Such a kernel, which nobody starts again."""
    async with kernels(server, tmp_path, kernel_spec_manager=specs) as manager:
        kernel = manager.get_kernel(await manager.start_kernel(kernel_name="sleeper"))
        kernel.stop_restarter()
        yield kernel


def test_the_key_of_a_kernel_that_dies_by_itself_is_revoked_when_jupyter_looks(
    factory, server, access, tmp_path, minted, sleeper
) -> None:
    async def main() -> None:
        make_default(server)
        async with sleeping(server, tmp_path, sleeper) as kernel:
            process = kernel.provisioner.process
            assert await kernel.is_alive()
            assert access.keys.verify(minted[-1]) is not None
            process.kill()
            await asyncio.to_thread(process.wait)
            assert not await kernel.is_alive()
            assert access.keys.verify(minted[-1]) is None

    asyncio.run(main())


def test_a_killed_kernel_that_nobody_looks_at_is_revoked_at_cleanup(
    factory, server, access, tmp_path, minted, sleeper
) -> None:
    async def main() -> None:
        make_default(server)
        async with sleeping(server, tmp_path, sleeper) as kernel:
            kernel.provisioner.process.kill()
            await kernel.cleanup_resources()
            assert access.keys.verify(minted[-1]) is None

    asyncio.run(main())


def test_a_question_between_two_launches_does_not_revoke_the_next_key(
    factory, server, access, tmp_path, minted, sleeper
) -> None:
    async def main() -> None:
        make_default(server)
        kernel = AsyncKernelManager(
            parent=server, kernel_name="sleeper", kernel_spec_manager=sleeper, connection_file=str(tmp_path / "k.json")
        )
        await kernel.pre_start_kernel()
        assert await kernel.provisioner.poll() == 0
        assert access.keys.verify(minted[-1]) is not None
        await kernel.cleanup_resources()
        assert access.keys.verify(minted[-1]) is None

    asyncio.run(main())


def test_a_launch_that_fails_leaves_no_key(factory, server, access, tmp_path, minted) -> None:
    async def main() -> None:
        make_default(server)
        specs = write_kernelspec(tmp_path / "specs", "broken", [str(tmp_path / "no-such-program")])
        async with kernels(server, tmp_path, kernel_spec_manager=specs) as manager:
            with pytest.raises(FileNotFoundError):
                await manager.start_kernel(kernel_name="broken")
            assert len(minted) == 1
            assert access.keys.verify(minted[0]) is None

    asyncio.run(main())


# -- what goes into the environment --------------------------------------------------------------------------------


async def launched_env(
    server: LoggingConfigurable, tmp_path: Path, given: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, str]:
    """The environment with which a process would be launched now."""
    specs = write_kernelspec(tmp_path / "specs", "probe", ["unused"], **spec)
    kernel = AsyncKernelManager(
        parent=server, kernel_name="probe", kernel_spec_manager=specs, connection_file=str(tmp_path / "k.json")
    )
    _, launch = await kernel.pre_start_kernel(**({} if given is None else {"env": given}))
    await kernel.cleanup_resources()
    env: dict[str, str] = launch["env"]
    return env


def test_the_callers_environment_is_not_written_to(factory, server, tmp_path) -> None:
    # What is written there comes back at a restart, and would then look like the user's own.
    make_default(server)
    given = {"PATH": "/bin", "BODHI_BACKEND_KEY": "x"}
    env = asyncio.run(launched_env(server, tmp_path, given))
    assert given == {"PATH": "/bin", "BODHI_BACKEND_KEY": "x"}
    assert env["OPENAI_API_KEY"].startswith("bodhi-")


def test_a_variable_in_the_kernelspec_counts_as_the_users(factory, server, tmp_path, caplog) -> None:
    make_default(server)
    with caplog.at_level(logging.INFO, "tests.access"):
        env = asyncio.run(launched_env(server, tmp_path, {"PATH": "/bin"}, env={"OPENAI_API_KEY": "mine"}))
    assert env["OPENAI_API_KEY"] == "mine"
    assert "OPENAI_BASE_URL" not in env
    assert "OLLAMA_HOST" in env
    assert "OPENAI_API_KEY is set" in caplog.text


@pytest.mark.parametrize("served", ["server", "server_without_us"])
def test_secrets_reach_no_kernel(factory, served, request, tmp_path, monkeypatch) -> None:
    server = request.getfixturevalue(served)
    make_default(server)
    monkeypatch.setenv("BODHI_BACKEND_KEY", "secret")
    monkeypatch.setenv("BODHI_BACKEND_URL", "http://127.0.0.1:8080")
    env = asyncio.run(launched_env(server, tmp_path))
    assert "secret" not in env.values()
    assert env["BODHI_BACKEND_URL"] == "http://127.0.0.1:8080"


def test_without_a_service_the_environment_is_jupyters(factory, server_without_us, tmp_path) -> None:
    make_default(server_without_us)
    given = {"PATH": "/bin"}
    assert asyncio.run(launched_env(server_without_us, tmp_path, given)) == given


@pytest.mark.parametrize(("mode", "url"), [("never", "http://127.0.0.1:8888"), ("auto", None)])
def test_where_nothing_is_to_be_set_nothing_is(factory, server, access, mode, url, tmp_path, minted) -> None:
    access.mode, access.base_url = mode, url
    make_default(server)
    assert asyncio.run(launched_env(server, tmp_path, {"PATH": "/bin"})) == {"PATH": "/bin"}
    assert not any(access.keys.verify(key) for key in minted)


def test_a_provider_left_alone_is_told_once_per_server(access, caplog) -> None:
    env = {"ANTHROPIC_API_KEY": "sk-ant-mine", "no_proxy": "*", "NO_PROXY": "*"}
    with caplog.at_level(logging.INFO, "tests.access"):
        for kernel in "ab":
            grant = access.grant(f"kernel:{kernel}", env)
            assert grant is not None
            assert not {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN"} & grant.variables.keys()
    assert len(caplog.records) == 1
    assert "ANTHROPIC_API_KEY is set" in caplog.text
    assert "kernel_env" in caplog.text
    assert "sk-ant-mine" not in caplog.text


def test_a_grant_and_its_service_show_no_key(access) -> None:
    grant = access.grant("kernel:a", {})
    assert grant is not None
    assert grant.key not in repr(grant) + repr(access)


def test_the_systems_proxies_are_carried_over_unless_the_environment_has_its_own(access, monkeypatch) -> None:
    monkeypatch.setattr(provisioner, "getproxies", lambda: {"http": "http://system:1"})
    assert access.grant("kernel:a", {}).variables["http_proxy"] == "http://system:1"
    assert "http_proxy" not in access.grant("kernel:b", {"HTTPS_PROXY": "http://mine:1"}).variables


# -- finding the service, and the factory --------------------------------------------------------------------------


def test_the_service_is_found_through_any_number_of_parents(server, access) -> None:
    chain = SimpleNamespace(parent=SimpleNamespace(parent=server))
    assert find_access(chain) is access


@pytest.mark.parametrize("parent", [None, SimpleNamespace(), SimpleNamespace(parent=None, web_app=None)])
def test_no_server_no_service(parent) -> None:
    assert find_access(parent) is None


def test_another_server_has_no_service(server_without_us) -> None:
    assert find_access(SimpleNamespace(parent=server_without_us)) is None


def test_the_default_is_changed_and_restored(factory, server) -> None:
    assert make_default(server) is True
    assert factory.instance().default_provisioner_name == PROVISIONER
    assert make_default(server) is False
    restore_default()
    assert factory.instance().default_provisioner_name == JUPYTERS_OWN


def test_somebody_elses_choice_is_respected(factory) -> None:
    app = LoggingConfigurable(
        config=Config({"KernelProvisionerFactory": {"default_provisioner_name": "kubernetes-provisioner"}})
    )
    assert make_default(app) is False
    restore_default()
    assert factory.instance().default_provisioner_name == "kubernetes-provisioner"


def test_a_checkout_that_is_not_installed_warns_and_breaks_no_kernel(
    factory, access, tmp_path, monkeypatch, caplog
) -> None:
    class App(LoggingConfigurable):
        log = logging.getLogger("tests.access")
        web_app = SimpleNamespace(settings={provisioner.SETTING: access})

    app = App()
    monkeypatch.delitem(factory.instance().provisioners, PROVISIONER)
    assert make_default(app) is False
    assert "pip install" in caplog.text
    env = asyncio.run(launched_env(app, tmp_path, {"PATH": "/bin"}))
    assert env == {"PATH": "/bin"}


def test_the_entry_point_names_the_class(factory) -> None:
    loaded = factory.instance().provisioners[PROVISIONER].load()
    assert loaded is BodhiProvisioner
    assert issubclass(loaded, LocalProvisioner)


def test_a_new_ring_knows_no_keys_of_another_server(access) -> None:
    grant = access.grant("kernel:a", {})
    assert grant is not None
    assert KeyRing().verify(grant.key) is None
