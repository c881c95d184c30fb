"""What can go wrong in a kernel, told to the person at the notebook in a sentence.

NotebookError
├── ServerNotFound        no server is known here; the text says how to name one
├── ServerUnreachable     it does not answer
├── PackageMissing        something that is only wanted here is not installed
├── WrongArgument         a value is of another kind than it has to be
└── RequestRefused        it answered with an error
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

#: What the server appends for programs' logs: whoever is at the notebook knows what was asked.
_CONTEXT = re.compile(r" \([A-Z]+ /[^()]*\)$")

#: What programs look for says it twice, and not what to do.
_TOO_LONG = re.compile(r"maximum context length is (\d+) tokens.*resulted in (\d+) tokens", re.DOTALL)


class NotebookError(Exception):
    """A sentence for the person at the notebook."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: under a cell stands the sentence, and no page of frames."""
        return [f"{type(self).__name__}: {self}"]


class ServerNotFound(NotebookError):
    """No server is known to this kernel."""


class ServerUnreachable(NotebookError):
    """The server does not answer, or stopped in the middle."""


class PackageMissing(NotebookError):
    """A package that is only wanted here is not installed."""


class WrongArgument(NotebookError):
    """A value is of another kind than it has to be, or is not there."""


class RequestRefused(NotebookError):
    """The server answered with an error; as text it says what a person can do about it.

    Attributes:
        message: what the server says.
        status: of the HTTP answer; 0 where the error came inside a stream.
        param: the field that is wrong, as in ``request_params.temperature``, or "".
        code: the machine-readable reason, or "".
        faults: all that is wrong with what was sent, each with its `param` and a sentence.
    """

    def __init__(self, message: str, *, status: int = 0, param: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.faults = [(param, message)]

    def __str__(self) -> str:
        if counts := _TOO_LONG.search(self.message):
            fitting, used = (f"{int(count):,}" for count in counts.groups())
            return (
                f"The messages have {used} tokens, of which the model takes {fitting}: shorten them, or ask a model "
                "with more context."
            )
        return self.message

    @classmethod
    def of(cls, status: int, body: bytes) -> RequestRefused:
        """The error in an answer's body: OpenAI's shape, Ollama's, or none that we know."""
        try:
            answer = json.loads(body)
            refused = cls.told(answer["error"], status)
            if faults := answer.get("faults"):
                refused.faults = [(str(fault["param"] or ""), str(fault["message"])) for fault in faults]
        except (ValueError, TypeError, KeyError):
            return cls(_unexplained(status), status=status)
        return refused

    @classmethod
    def told(cls, error: Any, status: int = 0) -> RequestRefused:
        """The same out of the value of an answer's ``error``."""
        if not isinstance(error, dict):
            return cls(str(error), status=status)
        message = _CONTEXT.sub("", str(error.get("message") or _unexplained(status)))
        return cls(message, status=status, param=str(error.get("param") or ""), code=str(error.get("code") or ""))


def _unexplained(status: int) -> str:
    if status == 404:
        return "This Jupyter server has no such route: install bodhi-jupyter where the server runs, and start it again."
    if 300 <= status < 400:
        return f"The server leads elsewhere, perhaps to a login (status {status})."
    return f"The server answered with status {status}."


def sentence(reason: str) -> str:
    """A reason in the server's words, as a sentence."""
    return f"{reason[:1].upper()}{reason[1:]}."


def unreachable(error: httpx.TransportError, url: str) -> ServerUnreachable:
    """The sentence for what httpx raised."""
    if isinstance(error, httpx.TimeoutException):
        return ServerUnreachable(f"The server at {url} was silent for too long.")
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        if "mismatch" in str(error):
            return ServerUnreachable(
                f"The certificate of the server at {url} is for another address: `connect` to that."
            )
        return ServerUnreachable(
            f"The certificate of the server at {url} is not trusted in this kernel: set SSL_CERT_FILE to the "
            "certificate, or to its authority's, before the kernel starts."
        )
    if isinstance(error, httpx.ConnectError):
        return ServerUnreachable(f"Nobody answers at {url}. Is the Jupyter server still running?")
    return ServerUnreachable(f"The connection to the server at {url} broke off.")
