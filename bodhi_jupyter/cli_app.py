"""``jupyter bodhi`` as a command: its subcommands, and a server where none is named."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp


class BodhiCommand(ExtensionApp):
    """What the command line adds to a server extension."""

    description = (
        "Starts a server that answers OpenAI's, Ollama's and Anthropic's APIs, from llama.cpp, without JupyterLab. "
        "It takes Jupyter's own options, too, --port and --ip among them: `jupyter server --help` lists them."
    )
    examples = """
jupyter bodhi --port 8890
jupyter bodhi --BodhiExtension.backend_url=http://127.0.0.1:8080
"""
    subcommand_description = "`jupyter bodhi SUBCOMMAND --help` says more of each. Without one a server starts."
    subcommands = {  # noqa: RUF012 - traitlets reads a plain dict
        name: (f"bodhi_jupyter.{command}", description)  # by name: a server imports none of them
        for name, command, description in (
            ("doctor", "cli.BodhiDoctor", "Say what is configured, reachable and wrong, and what to do."),
            ("env", "cli.BodhiEnv", "Print the exports that lead a terminal's programs to the running server."),
            ("key", "cli_keys.BodhiKey", "Make, list and revoke long-lived keys for tools outside notebooks."),
        )
    }

    @classmethod
    def launch_instance(cls, argv: list[str] | None = None, **kwargs: Any) -> None:
        """Run the subcommand that is named, or a server; a word that is neither ends with status 2."""
        first = next(iter(sys.argv[1:] if argv is None else argv), "")
        # Jupyter takes a path there: a folder to serve, a notebook to open.
        if re.fullmatch(r"\w[\w-]*", first) and first not in cls.subcommands and not Path(first).exists():
            from .cli import no_such_subcommand

            sys.stderr.write(no_such_subcommand("jupyter bodhi", first, cls.subcommands) + "\n")
            raise SystemExit(2)
        super().launch_instance(argv=argv, **kwargs)  # type: ignore[no-untyped-call]
