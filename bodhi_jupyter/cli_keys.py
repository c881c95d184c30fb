"""``jupyter bodhi key``: long-lived keys for tools outside notebooks. It needs no running server."""

from __future__ import annotations

import sys

from jupyter_core.application import JupyterApp, NoStart
from traitlets import Unicode

from .access.key_store import KeyFileProblem, KeyNameRefused, KeyStore, NewKey, NoSuchKey
from .access.watched_keys import keys_path
from .cli import ServerCommand, no_such_subcommand

#: Jupyter's own default, where no server runs that could be asked.
_USUAL_URL = "http://127.0.0.1:8888"


class BodhiKeyCreate(ServerCommand):
    """Make a key, and show it once."""

    name = "jupyter-bodhi-key-create"
    description = "Make a long-lived key for a tool outside notebooks, and show it once."
    examples = "jupyter bodhi key create --name editor"
    name_of_key = Unicode(help="What the key is for; shown in the list and in the server's log.").tag(config=True)
    aliases = {**ServerCommand.aliases, "name": "BodhiKeyCreate.name_of_key"}  # noqa: RUF012

    def start(self) -> None:
        """Make it, and print it with the settings that lead clients to the server."""
        super().start()
        if self.extra_args:
            self.complain("A name goes behind --name: jupyter bodhi key create --name editor")
        try:
            new = KeyStore(keys_path()).create(self.name_of_key or None)
        except (KeyFileProblem, KeyNameRefused) as error:
            self.complain(str(error))
        servers = self.servers()
        address = self.address_of(servers[0]) if len(servers) == 1 else ""
        if len(servers) != 1:
            sys.stderr.write(
                f"{'No server' if not servers else 'More than one server'} of yours runs: put the address of the one "
                f"that you mean in the place of {_USUAL_URL}. `jupyter server list` shows them.\n"
            )
        elif not address:
            sys.stderr.write(
                "Your server listens on a Unix socket: put an http address that leads there in the place of "
                f"{_USUAL_URL}.\n"
            )
        sys.stdout.write(_instructions(new, address or _USUAL_URL))


class BodhiKeyList(ServerCommand):
    """List the keys."""

    name = "jupyter-bodhi-key-list"
    description = "List the long-lived keys: id, name, and when they were made. The keys themselves are kept nowhere."

    def start(self) -> None:
        """Print one line for each."""
        super().start()
        try:
            keys = KeyStore(keys_path()).list()
        except KeyFileProblem as error:
            self.complain(str(error))
        if not keys:
            sys.stderr.write("There are no keys. `jupyter bodhi key create` makes one.\n")
            return
        width = max(len(key.name) for key in keys)
        for key in keys:
            sys.stdout.write(f"{key.id}  {key.name:{width}}  {key.created:%Y-%m-%d %H:%M} UTC\n")


class BodhiKeyRevoke(ServerCommand):
    """End keys."""

    name = "jupyter-bodhi-key-revoke"
    description = "End the long-lived keys of these ids or names; running servers refuse them from now on."
    examples = "jupyter bodhi key revoke editor"

    def start(self) -> None:
        """Revoke each that is named."""
        super().start()
        if not self.extra_args:
            self.complain("Say which: its id or its name. `jupyter bodhi key list` shows them.")
        for wanted in self.extra_args:
            try:
                revoked = KeyStore(keys_path()).revoke(wanted)
            except (KeyFileProblem, NoSuchKey) as error:
                self.complain(str(error))
            sys.stdout.write(f"Revoked {revoked.id}  {revoked.name}\n")


class BodhiKey(JupyterApp):
    """Make, list and end long-lived keys."""

    name = "jupyter-bodhi-key"
    description = "Long-lived keys for tools outside notebooks: editors, Ollama's command line, scripts."
    subcommand_description = "`jupyter bodhi key SUBCOMMAND --help` says more of each."
    subcommands = {  # noqa: RUF012 - traitlets reads a plain dict
        "create": (BodhiKeyCreate, BodhiKeyCreate.description),
        "list": (BodhiKeyList, BodhiKeyList.description),
        "revoke": (BodhiKeyRevoke, BodhiKeyRevoke.description),
    }

    def start(self) -> None:
        """Run the subcommand; say which there are without one, with status 1, and instead of another word, with 2."""
        try:
            super().start()
        except NoStart:
            return  # the subcommand has run; jupyter_server's launcher does not expect to hear of it so
        if self.extra_args:
            sys.stderr.write(no_such_subcommand("jupyter bodhi key", self.extra_args[0], self.subcommands) + "\n")
            self.exit(2)
        sys.stderr.write("Say what to do: jupyter bodhi key create, list or revoke.\n")
        self.exit(1)


def _instructions(new: NewKey, url: str) -> str:
    return (
        f"{new.key}\n"
        "\n"
        f"This is the key '{new.stored.name}' (id {new.stored.id}), shown only now. It opens the models and nothing "
        f"else of Jupyter,\nuntil `jupyter bodhi key revoke {new.stored.id}`.\n"
        "\n"
        "Ollama's command line, and other clients of Ollama that cannot send a key:\n"
        f"  OLLAMA_HOST={url}/bodhi/ollama/{new.key}\n"
        "Clients of OpenAI's API:\n"
        f"  OPENAI_BASE_URL={url}/v1\n"
        f"  OPENAI_API_KEY={new.key}\n"
        "Clients of Anthropic's API:\n"
        f"  ANTHROPIC_BASE_URL={url}\n"
        f"  ANTHROPIC_AUTH_TOKEN={new.key}\n"
        "Ollama's clients that can send a key:\n"
        f"  OLLAMA_HOST={url}\n"
        f"  OLLAMA_API_KEY={new.key}\n"
    )
