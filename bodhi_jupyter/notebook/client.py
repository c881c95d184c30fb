"""Where the server is, as a kernel finds it, and clients that are led there."""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from ..wire.address import connectable_host, login_headers
from ..wire.provider_variables import PROVIDERS
from ..wire.scoped_key import PREFIX
from .errors import PackageMissing, ServerNotFound

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

#: Seconds until there is a connection, and between two bytes: a model may have to be loaded first.
TIMEOUT = httpx.Timeout(600.0, connect=5.0)

NO_SERVER = (
    "No Jupyter server with bodhi-jupyter is known to this kernel. Start one with `jupyter lab` and open the notebook "
    'there; or name a running one with `connect("http://127.0.0.1:8888", key)`: `jupyter bodhi key create` makes a key.'
)


@dataclass(frozen=True)
class Server:
    """Where a server is, and what opens it.

    Attributes:
        url: without a trailing slash, and without ``/v1``.
        key: a key of ours, or a Jupyter token.
    """

    url: str
    key: str = field(repr=False)

    def openai(self, **more: Any) -> OpenAI:
        """OpenAI's client, led here; `more` goes to it.

        Raises:
            PackageMissing: `openai` is not installed.
        """
        sdk = _openai()
        http_client = sdk.DefaultHttpxClient(**self.httpx_options())
        client: OpenAI = sdk.OpenAI(**{**self._openai_options(), "http_client": http_client, **more})
        return client

    def async_openai(self, **more: Any) -> AsyncOpenAI:
        """OpenAI's asynchronous client, led here; `more` goes to it.

        Raises:
            PackageMissing: `openai` is not installed.
        """
        sdk = _openai()
        http_client = sdk.DefaultAsyncHttpxClient(**self.httpx_options())
        client: AsyncOpenAI = sdk.AsyncOpenAI(**{**self._openai_options(), "http_client": http_client, **more})
        return client

    def http(self) -> httpx.Client:
        """A client for our own routes, relative to the server's base."""
        return httpx.Client(**self._our_options())

    def async_http(self) -> httpx.AsyncClient:
        """The same for a running event loop."""
        return httpx.AsyncClient(**self._our_options())

    def httpx_options(self) -> dict[str, Any]:
        """How httpx is to connect: a proxy never sees what goes to this very machine, the key included."""
        if not _is_loopback(self.url):
            return {}
        options: dict[str, Any] = {"trust_env": False}
        if self.url.startswith("https://"):
            # Not read where the environment is not trusted; a self-signed certificate is named there.
            options["verify"] = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
        return options

    def _our_options(self) -> dict[str, Any]:
        return {"base_url": self.url, "headers": login_headers(self.key), "timeout": TIMEOUT, **self.httpx_options()}

    def _openai_options(self) -> dict[str, Any]:
        # The SDK refuses to be made without a key; a server without a login asks for none.
        headers = {} if self.key else login_headers("")
        return {"base_url": f"{self.url}/v1", "api_key": self.key or "none", "default_headers": headers}


def connect(url: str | None = None, key: str | None = None) -> Server:
    """The server for this kernel; one that is named here is also that of `chat`, the magics and new panels.

    Args:
        url: of the Jupyter server, with its base URL, with or without ``/v1``. Without one it is the server that was
            named last, else that of the kernel's environment, else the Jupyter server that started the kernel; ``""``
            forgets what was named.
        key: from ``jupyter bodhi key create``, or the server's token.

    Raises:
        ServerNotFound: none is known here.
    """
    if url == "":
        _chosen.clear()
    elif url is not None:
        _chosen[:] = [named_server(url, key)]
    return _chosen[0] if _chosen else find_server()


def named_server(url: str, key: str | None) -> Server:
    """The server at this address, with or without ``/v1``.

    Raises:
        ServerNotFound: it is no address.
    """
    return Server(_base(url), key or "")


#: The server that the person has named, if any.
_chosen: list[Server] = []


def find_server(env: Mapping[str, str] = os.environ, runtime_folder: Path | None = None) -> Server:
    """The server that this kernel was started by.

    Args:
        env: the kernel's environment.
        runtime_folder: where Jupyter servers say how they are reached; by default Jupyter's own.

    Raises:
        ServerNotFound: neither tells of one.
    """
    server = _from_environment(env) or _from_runtime_file(env, runtime_folder)
    if server is None:
        raise ServerNotFound(NO_SERVER)
    return server


def _from_environment(env: Mapping[str, str]) -> Server | None:
    for provider in PROVIDERS:
        url, key = env.get(provider.url_variable, ""), env.get(provider.key_variable, "")
        if url and key.startswith(PREFIX):
            return Server(url.rstrip("/").removesuffix(provider.url_path), key)
    return None


def _from_runtime_file(env: Mapping[str, str], folder: Path | None) -> Server | None:
    """The file that Jupyter Server writes for its own process, which started the kernel."""
    parents = _parents(env)
    if not parents:
        return None
    if folder is None:
        from jupyter_core.paths import jupyter_runtime_dir

        folder = Path(jupyter_runtime_dir())
    return next((server for parent in parents if (server := _told_by(folder / f"jpserver-{parent}.json"))), None)


def _parents(env: Mapping[str, str]) -> list[int]:
    """The ids of processes that may be the kernel's server, the likeliest first; none where no Jupyter started it."""
    told = env.get("JPY_PARENT_PID", "")
    if not told.isdecimal():
        return []
    if sys.platform != "win32":
        return [int(told)]
    # It is a handle there, and no id. In a virtual environment `python.exe` only starts the one that runs.
    import psutil

    parent = os.getppid()
    try:
        return [parent, psutil.Process(parent).ppid()]
    except psutil.Error:
        return [parent]


def _told_by(file: Path) -> Server | None:
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        if info.get("sock"):
            return None  # no SDK speaks to a Unix socket
        scheme = "https" if info["secure"] else "http"
        return Server(
            f"{scheme}://{connectable_host(info['hostname'])}:{info['port']}{info['base_url'].rstrip('/')}",
            info["token"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ServerNotFound(f"An address starts with http:// or https://, this one does not: {url!r}.")
    try:
        httpx.URL(url)  # it looks at the host
        address = urlsplit(url)
        _ = address.port  # raises where it is none
    except (ValueError, httpx.InvalidURL):
        raise ServerNotFound(f"This is no address: {url!r}.") from None
    return address._replace(path=address.path.rstrip("/").removesuffix("/v1"), query="", fragment="").geturl()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _openai() -> Any:
    try:
        import openai
    except ImportError:
        raise PackageMissing(
            "OpenAI's client is not installed in this kernel's environment: `%pip install openai`."
        ) from None
    return openai
