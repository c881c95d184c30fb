"""``%%chat`` and ``%bodhi``, loaded by ``%load_ext bodhi_jupyter``."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser, Namespace
from typing import Any
from urllib.parse import quote

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from .chat import Choice, chat
from .client import Server, connect
from .errors import WrongArgument
from .expressions import fill
from .listing import Listing, server_status
from .management import read_data, read_document
from .rows import row_of

#: What shells take as one word or character.
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""")
#: A system prompt outside quotation marks, and another word behind it.
_CUT_PROMPT = re.compile(r"""(?:^|\s)(?:-s|--s\w*[=\s])\s*[^-\s"]\S*\s+[^-\s]""")


@magics_class
class BodhiMagics(Magics):
    """The magics of one IPython shell."""

    shell: InteractiveShell

    @cell_magic("chat")
    @magic_arguments()
    @argument("model", nargs="?", help="An alias; by default what `%%bodhi use` said, else `default`.")
    @argument("-o", "--output", metavar="VARIABLE", help="Where the answer is kept.")
    @argument("-s", "--system", default="", help="A system prompt; of several words in quotation marks.")
    @argument("-c", "--continue", dest="after", metavar="VARIABLE", help="An answer to ask on from.")
    @argument("-t", "--temperature", type=float, help="From 0 to 2.")
    @argument("-m", "--max-tokens", type=int, help="The longest answer, in tokens.")
    def chat_cell(self, line: str, cell: str) -> None:
        """Ask a model what the cell says; the answer appears below as it grows.

        ``{expressions}`` are replaced by their values in this notebook. What is no expression, names nothing that is
        there, or is an argument in LaTeX stays as it is; ``{{`` and ``}}`` stand for braces.
        """
        arguments = self._arguments(line)
        parameters = {"temperature": arguments.temperature, "max_tokens": arguments.max_tokens}
        answer = chat(
            fill(cell.strip(), self.shell.user_ns),
            model=arguments.model,
            system=fill(arguments.system, self.shell.user_ns),
            after=self._answer(arguments.after) if arguments.after else (),
            **{name: value for name, value in parameters.items() if value is not None},
        )
        if arguments.output:
            self.shell.user_ns[arguments.output] = answer

    def _arguments(self, line: str) -> Namespace:
        # IPython's own splitting leaves quotation marks where they are, and knows other ones on Windows.
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"%%chat: {error}.") from None
        # The rest of the prompt would be asked as a model.
        if _CUT_PROMPT.search(_QUOTED.sub('"', line)):
            raise UsageError("%%chat: a system prompt of several words stands in quotation marks")
        parser: ArgumentParser = self.chat_cell.parser
        return parser.parse_args(words)

    def _answer(self, variable: str) -> Any:
        if variable not in self.shell.user_ns:
            raise WrongArgument(f"There is no variable `{variable}`: `-c` takes one that holds an answer.")
        return self.shell.user_ns[variable]

    @line_magic("bodhi")  # type: ignore[arg-type]
    def bodhi_line(self, line: str) -> None:
        """``%bodhi`` shows the panel; ``models``, ``use <model>`` and ``status`` behind it do what they say."""
        action, _, rest = line.strip().partition(" ")
        if not action:
            from .panel import Panel

            display(Panel())
        elif action == "models" and not rest:
            display(Listing(read_data(connect(), "/v1/models")))
        elif action == "use" and rest.strip():
            _use(connect(), rest.strip())
        elif action == "status" and not rest:
            server = connect()
            print(server_status(server.url, read_document(server, "/bodhi/health", also=503), Choice.model))  # noqa: T201
        else:
            print("Say `%bodhi` for the panel, `%bodhi models`, `%bodhi use <model>` or `%bodhi status`.")  # noqa: T201


def _use(server: Server, name: str) -> None:
    model = read_document(server, f"/v1/models/{quote(name, safe='')}")
    if not row_of(model).writes:
        raise WrongArgument(f"{name} writes no text: `chat` and `%%chat` cannot ask it.")
    Choice.model = name
    meant = "" if model["id"] == name else f", which is {model['id']}"
    print(f"Questions go to {name}{meant}.")  # noqa: T201


def load(shell: InteractiveShell) -> None:
    """Give the magics to a shell."""
    shell.register_magics(BodhiMagics)
