"""A JupyterHub in processes of its own: the Hub, its proxy, and a person's single-user server."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.live.server import PATIENCE, eventually, own_environment

_CONFIG = """
import sys

c = get_config()
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = 120
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/hub-of-many/"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.JupyterHub.services = [{{"name": "test", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "access:servers", "tokens"]}}
]
"""


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class RealHub:
    """``jupyterhub``, until the context is left.

    Args:
        folder: everything that it and the persons' servers write is in it.
        proxy: the program ``configurable-http-proxy``.
    """

    def __init__(self, folder: Path, proxy: str) -> None:
        port, hub_port, proxy_port = _free_ports(3)
        self._token = secrets.token_hex(16)
        self._folder = folder
        self._url = f"http://127.0.0.1:{port}/hub-of-many"
        homes = folder / "homes"
        config = _CONFIG.format(
            homes=str(homes), port=port, hub_port=hub_port, proxy_port=proxy_port, proxy=proxy, token=self._token
        )
        (folder / "home").mkdir()
        homes.mkdir()
        (folder / "jupyterhub_config.py").write_text(config)

    def __enter__(self) -> Self:
        with (self._folder / "hub.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"],
                env=own_environment(self._folder),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(lambda: self._is_there("/hub/api/"), "the Hub")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def server_of(self, person: str) -> HubServer:
        """The person's server, started; its token is one that the Hub gave the person."""
        with self._api() as api:
            assert api.post(f"/users/{person}").status_code == 201
            assert api.post(f"/users/{person}/server").status_code in {201, 202}
            eventually(lambda: api.get(f"/users/{person}").json()["servers"].get("", {}).get("ready"), "the server")
            token = api.post(f"/users/{person}/tokens", json={}).json()["token"]
        return HubServer(f"{self._url}/user/{person}", token)

    def log(self) -> str:
        return (self._folder / "hub.log").read_text(errors="replace")

    def _api(self) -> httpx.Client:
        headers = {"Authorization": f"token {self._token}"}
        return httpx.Client(base_url=f"{self._url}/hub/api", headers=headers, timeout=PATIENCE, trust_env=False)

    def _is_there(self, path: str) -> bool:
        assert self._process.poll() is None, f"the Hub ended:\n{self.log()}"
        with suppress(httpx.TransportError):
            return httpx.get(self._url + path, trust_env=False).status_code == 200
        return False

    def _stop(self) -> None:
        family = psutil.Process(self._process.pid).children(recursive=True) if self._process.poll() is None else []
        self._process.terminate()
        try:
            self._process.wait(PATIENCE / 3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


class HubServer:
    """A single-user server as it is reached from outside, by way of the Hub's proxy."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.trusted = None

    def client(self, key: str | None = None) -> httpx.Client:
        """An HTTP client with the person's token, or with another key."""
        headers = {"Authorization": f"Bearer {self.token if key is None else key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False)

    def chat(self, key: str | None = None, **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": "What is an alias?"}]
        with self.client(key) as client:
            return client.post("/v1/chat/completions", json={"model": "default", "messages": messages, **more})
