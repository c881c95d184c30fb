"""The extension's configuration."""

import subprocess
import sys
from typing import Any

import pytest
from traitlets import TraitError

from bodhi_jupyter.extension import BodhiExtension


@pytest.mark.parametrize(
    ("backends", "says"),
    [
        ({"local": {"url": "http://x"}}, "cannot be called 'local'"),
        ({"a/b": {"url": "http://x"}}, "cannot be called"),
        ({"gpu": {"api_key": "x"}}, "no 'url'"),
        ({"gpu": {"ur": "http://x"}}, "dict of 'url'"),
        ({"gpu": "http://x"}, "dict of 'url'"),
    ],
)
def test_backends_that_make_no_sense_are_refused(backends: dict[str, Any], says: str) -> None:
    with pytest.raises(TraitError, match=says):
        BodhiExtension(backends=backends)


def test_the_backend_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BODHI_BACKEND_URL", "http://gpu:8080")
    monkeypatch.setenv("BODHI_BACKEND_API_KEY", "secret")
    extension = BodhiExtension()
    assert (extension.backend_url, extension.backend_api_key) == ("http://gpu:8080", "secret")


async def test_a_stop_without_a_start_is_harmless(extension) -> None:
    await extension.stop_extension()
    await extension.stop_extension()


async def test_the_start_hook_tells_kernels_where_we_are(extension, jp_serverapp, jp_base_url) -> None:
    assert extension.kernel_access.base_url is None
    await jp_serverapp.extension_manager.start_all_extensions()
    assert extension.kernel_access.base_url == f"http://127.0.0.1:{jp_serverapp.port}{jp_base_url.rstrip('/')}"


async def test_what_cannot_be_loaded_early_is_told(extension, jp_serverapp, monkeypatch, caplog) -> None:
    async def fail() -> None:
        raise OSError("no such module")

    monkeypatch.setattr(extension.gateway.upstream, "warm_up", fail)
    await jp_serverapp.extension_manager.start_all_extensions()
    await extension.stop_extension()
    assert "could not be loaded early" in caplog.text
    assert "no such module" in caplog.text


class TestSelfSigned:
    @pytest.fixture
    def jp_server_config(self, jp_server_config) -> dict[str, Any]:
        jp_server_config["ServerApp"]["certfile"] = "self-signed.pem"
        return jp_server_config

    async def test_where_kernels_could_not_use_it_nothing_is_set(self, extension, jp_serverapp, caplog) -> None:
        await extension._start_jupyter_server_extension(jp_serverapp)
        assert extension.kernel_access.base_url is None
        assert "c.BodhiExtension.kernel_url" in caplog.text


class TestLimits:
    def test_what_makes_no_sense_is_refused_at_the_start(self) -> None:
        with pytest.raises(TraitError, match=r"limits\.user\.requests_per_minute"):
            BodhiExtension(limits={"user": {"requests_per_minute": -1}})

    def test_the_storage_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BODHI_LIMITS_STORAGE", "redis://:secret@redis")
        assert BodhiExtension().limits_storage == "redis://:secret@redis"

    def test_without_limits_nothing_is_imported(self) -> None:
        code = (
            "import sys, bodhi_jupyter.extension as extension; "
            "extension.BodhiExtension(limits={'user': {'streams': 1}}); "
            "print({'limits', 'redis'} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "set()"
