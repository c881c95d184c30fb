"""A stub of the Jupyter server above real kernel managers, and a clean provisioner factory."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from traitlets.config import LoggingConfigurable

from bodhi_jupyter.access.keys import KeyRing
from bodhi_jupyter.access.provisioner import PROVISIONER, SETTING, KernelAccess

BASE_URL = "http://127.0.0.1:8888/user/ann"


class Server(LoggingConfigurable):
    """What the provisioner needs of a ServerApp: the end of the chain of parents, and `web_app.settings`."""

    def __init__(self, access: KernelAccess | None) -> None:
        super().__init__()
        self.web_app = SimpleNamespace(settings={} if access is None else {SETTING: access})


@pytest.fixture
def base_url() -> str:
    return BASE_URL


@pytest.fixture
def access() -> KernelAccess:
    return KernelAccess(KeyRing(), "auto", logging.getLogger("tests.access"), base_url=BASE_URL)


@pytest.fixture
def server(access: KernelAccess) -> Server:
    return Server(access)


@pytest.fixture
def server_without_us() -> Server:
    return Server(None)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch):
    """Jupyter's factory, fresh, with our entry point registered as an installed package would have it."""
    entry = EntryPoint(
        PROVISIONER, "bodhi_jupyter.access.provisioner:BodhiProvisioner", KernelProvisionerFactory.GROUP_NAME
    )
    monkeypatch.delenv(KernelProvisionerFactory.default_provisioner_name_env, raising=False)
    monkeypatch.setattr(KernelProvisionerFactory, "provisioners", {PROVISIONER: entry})
    KernelProvisionerFactory.clear_instance()
    yield KernelProvisionerFactory
    KernelProvisionerFactory.clear_instance()
