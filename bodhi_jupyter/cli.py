"""``jupyter bodhi doctor`` and ``jupyter bodhi env``: they talk to the running server as any client does."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from urllib.request import getproxies

from jupyter_core.application import JupyterApp
from jupyter_server.extension.config import ExtensionConfigManager
from traitlets import Enum, Integer, TraitError, Unicode, default
from traitlets.config.loader import Config, LazyConfigValue

from .access.environment import Shell, has_proxy_variables, kernel_variables, shell_exports
from .running import RunningServer, Unreachable, running_servers


class ServerCommand(JupyterApp):
    """What commands share that have to do with running servers: which these are, and their own configuration files."""

    port = Integer(0, help="The port of the server to ask, where several run.").tag(config=True)
    aliases = {"port": "ServerCommand.port"}  # noqa: RUF012 - traitlets reads a plain dict
    flags = {}  # noqa: RUF012 - JupyterApp's are about other things

    @default("config_file_name")
    def _config_file_name_default(self) -> str:
        return "jupyter_server_config"

    def servers(self) -> list[RunningServer]:
        """The user's servers on this machine, or the one that ``--port`` names."""
        return [server for server in running_servers() if self.port in {0, server.port}]

    def address_of(self, server: RunningServer) -> str:
        """Where programs reach it: of a Unix socket, which none of the SDKs can use, ``kernel_url``; "" without."""
        if server.socket:
            return str(self.config.BodhiExtension.get("kernel_url", "")).rstrip("/")
        return server.url

    def complain(self, text: str) -> None:
        """Say on stderr what went wrong, and end with status 1: stdout is for what is asked for."""
        sys.stderr.write(text + "\n")
        self.exit(1)


class BodhiEnv(ServerCommand):
    """Print the exports for a terminal: ``eval "$(jupyter bodhi env)"``."""

    name = "jupyter-bodhi-env"
    description = "Print the exports that lead a terminal's programs to the running server."
    examples = """
eval "$(jupyter bodhi env)"            # bash, zsh
jupyter bodhi env | source             # fish
jupyter bodhi env | Out-String | iex   # PowerShell
"""
    shell = Enum(["auto", "sh", "fish", "powershell", "cmd"], default_value="auto", help="Whose syntax to print.").tag(
        config=True
    )
    name_of_key = Unicode(help="What the key is called in the server's log; your user name by default.").tag(
        config=True
    )
    aliases = {**ServerCommand.aliases, "shell": "BodhiEnv.shell", "name": "BodhiEnv.name_of_key"}  # noqa: RUF012

    @default("name_of_key")
    def _name_of_key_default(self) -> str:
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a container's user without a name
            user = ""
        # The server takes such names alone.
        return re.sub(r"[^A-Za-z0-9_.@-]", "-", user).lstrip("-.@")[:64] or "terminal"

    def start(self) -> None:
        """Ask the server for a key, and print the lines."""
        super().start()
        servers = self.servers()
        if len(servers) != 1:
            self.complain(_which_server(servers, self.port))
        (server,) = servers
        address = self.address_of(server)
        if not address:
            self.complain(
                f"{server.url} is a Unix socket, which SDKs cannot use. Where an http address leads to it, name that "
                "as c.BodhiExtension.kernel_url in jupyter_server_config.py."
            )
        try:
            answer = server.ask("POST", "/bodhi/v1/keys", {"name": self.name_of_key})
        except Unreachable as error:
            self.complain(f"{server.url} does not answer: {error}.")
        if answer.status in {401, 403}:
            self.complain(
                f"{server.url} is opened by a password or another login of its own, and gives no key here. "
                "`jupyter bodhi key create` makes one without it."
            )
        if answer.status != 201:
            self.complain(f"{server.url} gives no key. `jupyter bodhi doctor` says more: {answer.error}")
        system_proxies = {} if has_proxy_variables(os.environ) else getproxies()
        variables = kernel_variables(address, answer.document["key"], os.environ, "always", system_proxies)
        sys.stdout.write(shell_exports(variables.additions, _shell(self.shell)))


class BodhiDoctor(ServerCommand):
    """Say in plain words what is configured, reachable and wrong, and what to do."""

    name = "jupyter-bodhi-doctor"
    description = "Say what is configured, reachable and wrong, and what to do. Exit status 1 if anything is wrong."

    def start(self) -> None:
        """Print the report."""
        super().start()
        from .doctor import Setup, examine, report

        traits = self.config.BodhiExtension
        setup = Setup(
            enabled=self._enabled(),
            backends=dict(self._backends()),
            llama_server=str(traits.get("llama_server", "")),
            kernel_url=str(traits.get("kernel_url", "")),
            kernel_env=str(traits.get("kernel_env", "auto")),
            folders=list(self._folders()),
            limits=_plain(traits.get("limits"), {}),
            limits_storage=str(traits.get("limits_storage", os.environ.get("BODHI_LIMITS_STORAGE", ""))),
            fault=self._fault(),
            unknown=sorted(self._unknown()),
        )
        text, well = report(examine(self.servers(), setup, self.port))
        sys.stdout.write(text)
        self.exit(0 if well else 1)

    def _unknown(self) -> set[str]:
        """Names of settings that neither we have nor any extension."""
        from .cli_app import BodhiCommand
        from .settings import BodhiSettings

        return {*self.config.BodhiExtension} - {*BodhiSettings.class_trait_names(), *BodhiCommand.class_trait_names()}

    def _fault(self) -> str:
        """What is wrong with the settings, in the words of the server's log, or ""."""
        from .settings import BodhiSettings

        known = BodhiSettings.class_trait_names()
        settings = {name: value for name, value in self.config.BodhiExtension.items() if name in known}
        try:
            BodhiSettings(config=Config({"BodhiSettings": settings}))
        except TraitError as error:
            return str(error)
        return ""

    def _backends(self) -> Iterator[tuple[str, str]]:
        """What configures a server, and its address: as far as it can be understood."""
        traits = self.config.BodhiExtension
        if url := traits.get("backend_url"):
            yield "c.BodhiExtension.backend_url", str(url)
        elif url := os.environ.get("BODHI_BACKEND_URL"):
            yield "BODHI_BACKEND_URL", url
        backends = _plain(traits.get("backends", {}), {})
        if not isinstance(backends, dict):
            yield "c.BodhiExtension.backends, which has to be a dict of servers by their names,", ""
            return
        for name, settings in backends.items():
            yield (
                f"c.BodhiExtension.backends[{name!r}]",
                str(settings.get("url", "")) if isinstance(settings, dict) else "",
            )

    def _folders(self) -> Iterator[tuple[str, str]]:
        for name in ("model_folders", "alias_folders"):
            folders = _plain(self.config.BodhiExtension.get(name, []), [])
            if isinstance(folders, list):
                yield from ((f"c.BodhiExtension.{name}", str(folder)) for folder in folders)

    def _enabled(self) -> bool:
        """Decide as the server does at its start: its own configuration, then the files of the extensions."""
        own = self.config.ServerApp.get("jpserver_extensions")
        if isinstance(own, dict) and "bodhi_jupyter" in own:
            return bool(own["bodhi_jupyter"])
        manager = ExtensionConfigManager(read_config_path=self.config_file_paths)
        return bool(manager.get_jpserver_extensions().get("bodhi_jupyter"))  # type: ignore[no-untyped-call]


def _plain(setting: object, default: object) -> object:
    """The setting, also where it was made with ``c.BodhiExtension.limits.update(...)`` or ``....append(...)``."""
    return setting.get_value(default) if isinstance(setting, LazyConfigValue) else setting


def no_such_subcommand(command: str, word: str, known: Iterable[str]) -> str:
    """What is said of a word that is no subcommand of `command`: which there are, and the nearest of them."""
    names = list(known)
    nearest = get_close_matches(word, names, n=1)
    meant = f" Did you mean `{command} {nearest[0]}`?" if nearest else ""
    return f"`{command}` knows no {word!r}.{meant} Its subcommands are {', '.join(names[:-1])} and {names[-1]}."


def _shell(chosen: str) -> Shell:
    for known in ("sh", "fish", "powershell", "cmd"):
        if chosen == known:
            return known
    if sys.platform == "win32":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"


def _which_server(servers: list[RunningServer], port: int) -> str:
    if servers:
        return "Several Jupyter servers run; name one with --port: " + ", ".join(server.url for server in servers)
    if port:
        return f"No Jupyter server of yours runs on port {port}. `jupyter server list` shows those that do."
    return "No Jupyter server of yours is running. Start one first: jupyter lab, or jupyter bodhi"
