"""The extension's configuration."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from bodhi_jupyter import extension as extension_module
from bodhi_jupyter.backends.pool import LocalPool
from bodhi_jupyter.catalog.sources import AliasFileSource, FileSource
from bodhi_jupyter.extension import BodhiExtension
from bodhi_jupyter.models.box import BoxedModels
from bodhi_jupyter.services import BACKEND
from bodhi_jupyter.settings import RESERVED


@pytest.mark.parametrize(
    ("backends", "says"),
    [
        ({"local": {"url": "http://x"}}, "cannot be called 'local'"),
        ({"a/b": {"url": "http://x"}}, "cannot be called"),
        ({"gpu": {"api_key": "x"}}, "no 'url'"),
        ({"gpu": {"ur": "http://x"}}, "dict of 'url'"),
        ({"gpu": "http://x"}, "dict of 'url'"),
        ({5: {"url": "http://x"}}, "cannot be called 5"),
        ({"gpu": {"url": "http://x", "api_key": 5}}, "'api_key' of the backend 'gpu' has to be text"),
    ],
)
def test_backends_that_make_no_sense_are_refused(backends: dict[str, Any], says: str) -> None:
    with pytest.raises(TraitError, match=says):
        BodhiExtension(backends=backends)


def test_folders_may_begin_at_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    extension = BodhiExtension(model_folders=["~/models", "gguf"], alias_folders=["~/aliases"])
    assert [Path(folder) for folder in extension.model_folders] == [tmp_path / "models", Path("gguf")]
    assert [Path(folder) for folder in extension.alias_folders] == [tmp_path / "aliases"]


@pytest.mark.parametrize(
    "name", ["read_timeout", "load_timeout", "queue_timeout", "admission_timeout", "max_body_bytes"]
)
def test_a_negative_limit_that_would_refuse_every_request_is_refused_itself(name: str) -> None:
    with pytest.raises(TraitError, match=name):
        BodhiExtension(**{name: -1})


@pytest.mark.parametrize("name", ["read_timeout", "load_timeout", "queue_timeout"])
def test_no_time_at_all_is_refused_where_everything_would_fail(name: str) -> None:
    with pytest.raises(TraitError, match=name):
        BodhiExtension(**{name: 0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend_api_key", ["s3cret"]),
        ("backend_url", ["http://me:s3cret@gpu"]),
        ("backends", [{"url": "http://gpu", "api_key": "s3cret"}]),
        ("limits_storage", {"url": "redis://:s3cret@cache"}),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_without_what_is_secret(name: str, value: object) -> None:
    with pytest.raises(TraitError, match=name) as caught:
        BodhiExtension(**{name: value})
    assert "s3cret" not in str(caught.value)


def test_the_backend_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BODHI_BACKEND_URL", "http://gpu:8080")
    monkeypatch.setenv("BODHI_BACKEND_API_KEY", "secret")
    extension = BodhiExtension()
    assert (extension.backend_url, extension.backend_api_key) == ("http://gpu:8080", "secret")


def test_no_backend_is_called_as_one_of_our_own_sources() -> None:
    ours = {BACKEND, LocalPool.name, BoxedModels.name, FileSource.name, AliasFileSource.name}
    assert ours == RESERVED


def test_what_answers_requests_is_not_imported_at_the_start() -> None:
    code = (
        "import sys, bodhi_jupyter.extension as extension; extension.BodhiExtension(); "
        "print(*{'pydantic', 'httpx', 'aiohttp', 'filelock', 'limits', 'ruamel', 'gguf', 'huggingface_hub', "
        "'bodhi_jupyter.services', 'bodhi_jupyter.routes', 'bodhi_jupyter.cli'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


async def test_a_stop_soon_after_the_start_loads_nothing(extension, jp_serverapp) -> None:
    await jp_serverapp.extension_manager.start_all_extensions()
    await extension.stop_extension()
    assert extension._settling.cancelled()
    assert extension._warming_up is None
    assert extension._services is None


async def test_after_the_start_all_is_loaded_without_a_request(extension, jp_serverapp, monkeypatch) -> None:
    monkeypatch.setattr(extension_module, "SETTLE_SECONDS", 0)
    await jp_serverapp.extension_manager.start_all_extensions()
    while extension._warming_up is None:
        await asyncio.sleep(0.01)
    await extension._warming_up
    assert extension.gateway.upstream._transports is not None


async def test_what_cannot_be_loaded_is_in_the_log(extension, jp_serverapp, monkeypatch, caplog) -> None:
    monkeypatch.setattr(extension._routes, "_load", lambda: 1 / 0)
    await extension._warm_up()
    assert "What answers requests could not be loaded" in caplog.text


async def test_a_stop_without_a_start_is_harmless(extension) -> None:
    await extension.stop_extension()
    await extension.stop_extension()


async def test_the_start_hook_tells_kernels_where_we_are(extension, jp_serverapp, jp_base_url) -> None:
    assert extension.kernel_access.base_url is None
    await jp_serverapp.extension_manager.start_all_extensions()
    assert extension.kernel_access.base_url == f"http://127.0.0.1:{jp_serverapp.port}{jp_base_url.rstrip('/')}"
