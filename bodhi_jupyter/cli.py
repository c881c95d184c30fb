"""``jupyter bodhi doctor`` and ``jupyter bodhi env``: they talk to the running server as any client does."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jupyter_core.application import JupyterApp
from jupyter_server.extension.config import ExtensionConfigManager
from jupyter_server.serverapp import list_running_servers
from traitlets import Integer, Unicode

from .access.environment import FAMILIES, Shell, kernel_variables, shell_exports
from .backends.launch import EmbeddedLauncher

SECONDS = 10.0


class Unreachable(Exception):
    """The server does not answer, or refuses; the text says why."""


@dataclass(frozen=True)
class RunningServer:
    """A Jupyter server of this user on this machine, as its runtime file tells.

    Attributes:
        url: without a trailing slash.
        token: the server's own; kept out of everything that is printed.
    """

    url: str
    token: str
    root: str

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """The status and the JSON of an answer.

        Raises:
            Unreachable: no answer, or none that is JSON.
        """
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, body, method=method)  # noqa: S310 - from the runtime file
        request.add_header("Authorization", f"Bearer {self.token}")
        # No proxy may see the token.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _json_or_none(error.read())
        except (OSError, ValueError) as error:
            raise Unreachable(str(error)) from None


def running_servers() -> list[RunningServer]:
    """The servers that this user runs on this machine."""
    return [
        RunningServer(str(info["url"]).rstrip("/"), str(info["token"]), str(info["root_dir"]))
        for info in list_running_servers()
    ]


class _BodhiCommand(JupyterApp):
    """What the two commands share."""

    port = Integer(0, help="The port of the server to ask, where several run.").tag(config=True)
    aliases = {"port": "_BodhiCommand.port"}  # noqa: RUF012 - traitlets reads a plain dict

    def chosen_servers(self) -> list[RunningServer]:
        servers = running_servers()
        return [server for server in servers if not self.port or f":{self.port}" in server.url]


class BodhiEnv(_BodhiCommand):
    """Print the exports for a terminal: ``eval "$(jupyter bodhi env)"``."""

    name = "jupyter-bodhi-env"
    description = "Print the exports that lead a terminal's programs to the running server."
    shell = Unicode("", help="sh, fish, powershell or cmd; by default the one that is running.").tag(config=True)
    aliases = {"port": "_BodhiCommand.port", "shell": "BodhiEnv.shell"}  # noqa: RUF012

    def start(self) -> None:
        """Ask for a key and print the lines; what goes wrong is said on stderr, for the lines are evaluated."""
        super().start()
        servers = self.chosen_servers()
        if len(servers) != 1:
            self.exit(_complain(_which_server(servers)))
        server = servers[0]
        try:
            status, answer = server.ask("POST", "/bodhi/v1/keys", {"name": getpass.getuser()})
        except Unreachable as error:
            self.exit(_complain(f"The server at {server.url} does not answer: {error}"))
        if status != 201:
            self.exit(_complain(f"The server at {server.url} runs without this extension (status {status})."))
        variables = kernel_variables(server.url, answer["key"], os.environ, "always").additions
        sys.stdout.write(shell_exports(variables, self._shell()))

    def _shell(self) -> Shell:
        for known in ("fish", "powershell", "cmd", "sh"):
            if self.shell == known:
                return known
        if sys.platform == "win32":
            return "powershell"
        return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"


class BodhiDoctor(_BodhiCommand):
    """Say in plain words what is configured, reachable and wrong, and what to do."""

    name = "jupyter-bodhi-doctor"
    description = "Say what is configured, reachable and wrong, and what to do."

    def start(self) -> None:
        """Print the findings; the exit status is 1 if something is wrong."""
        super().start()
        findings = list(self._findings())
        for finding in findings:
            sys.stdout.write(f"{'ok   ' if finding.ok else 'WRONG'}  {finding.text}\n")
        self.exit(0 if all(finding.ok for finding in findings) else 1)

    def _findings(self) -> Iterator[Finding]:
        version = importlib.metadata.version("bodhi-jupyter")
        yield Finding(True, f"bodhi-jupyter {version} on Python {platform.python_version()}, {platform.platform()}")
        yield _engine()
        yield _enabled()
        yield from _environment()
        servers = self.chosen_servers()
        if not servers:
            yield Finding(True, "No Jupyter server of yours is running. Start one: jupyter lab, or jupyter bodhi")
        for server in servers:
            yield from _server(server)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    ok: bool
    text: str


def _engine() -> Finding:
    reason = EmbeddedLauncher().unavailable()
    if reason:
        return Finding(False, f"The embedded engine cannot run: {reason} Or set c.BodhiExtension.backend_url.")
    return Finding(True, f"The embedded engine is installed (xllamacpp {importlib.metadata.version('xllamacpp')})")


def _enabled() -> Finding:
    manager = ExtensionConfigManager(read_config_path=JupyterApp().jupyter_path_config())
    enabled = manager.enabled("bodhi_jupyter", include_root=True)
    if enabled:
        return Finding(True, "The extension is enabled in Jupyter Server's configuration")
    return Finding(False, "The extension is not enabled: jupyter server extension enable bodhi_jupyter")


def _environment() -> Iterator[Finding]:
    for family in FAMILIES:
        found = family.set_by_user(os.environ)
        if found:
            yield Finding(
                True,
                f"{' and '.join(found)} set by you: kernels started from here keep your {family.name} settings "
                "(c.BodhiExtension.kernel_env)",
            )


def _server(server: RunningServer) -> Iterator[Finding]:
    try:
        status, health = server.ask("GET", "/bodhi/health")
    except Unreachable as error:
        yield Finding(False, f"{server.url} does not answer ({error}). Was it killed? Start it again.")
        return
    if status not in {200, 503} or not isinstance(health, dict):
        yield Finding(False, f"{server.url} runs without the extension: was it started before the installation?")
        return
    yield Finding(True, f"{server.url} runs with the extension, in {server.root}")
    for name, backend in health["backends"].items():
        yield Finding(backend["ok"], f"  {name}: {backend['detail']}")
    _, models = server.ask("GET", "/v1/models")
    yield Finding(True, f"  models: {', '.join(model['id'] for model in models.get('data', []))}")


def _which_server(servers: list[RunningServer]) -> str:
    if not servers:
        return "No Jupyter server of yours is running. Start one: jupyter lab, or jupyter bodhi"
    return "Several servers run; name one with --port: " + ", ".join(server.url for server in servers)


def _complain(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 1


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
