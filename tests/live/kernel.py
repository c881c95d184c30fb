"""A kernel of a live server, spoken to as JupyterLab speaks to one: REST, and one websocket."""

from __future__ import annotations

import json
import ssl
import uuid
from typing import Any, Protocol, Self

import httpx
import websocket

from tests.live.server import PATIENCE


class CellFailed(Exception):
    """A cell ended with an error; the text is its traceback."""


class Server(Protocol):
    """Where the kernel runs: an address, a token that opens it, a client that has both; who is trusted."""

    url: str
    token: str
    trusted: ssl.SSLContext | None

    def client(self) -> httpx.Client: ...


class Kernel:
    """A kernel, until the context is left.

    Attributes:
        id: Jupyter's id of it.
    """

    def __init__(self, server: Server) -> None:
        self._client = server.client()
        self._server = server
        self.id = ""

    def __enter__(self) -> Self:
        answer = self._client.post("/api/kernels", json={"name": "python3"})
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._client.delete(f"/api/kernels/{self.id}")
        self._client.close()

    def restart(self) -> None:
        self._socket.close()
        answer = self._client.post(f"/api/kernels/{self.id}/restart")
        assert answer.status_code == 200, answer.text
        self._connect()

    def shut_down(self) -> None:
        answer = self._client.delete(f"/api/kernels/{self.id}")
        assert answer.status_code == 204, answer.text

    def run(self, code: str) -> str:
        """Execute a cell; what it printed and showed, as text.

        Raises:
            CellFailed: the cell raised.
        """
        # Otherwise what is sent soon behind a cell that fails may be dropped, which looks like success.
        asked = {"code": code, "silent": False, "allow_stdin": False, "stop_on_error": False}
        request = self._send("execute_request", asked)
        failure: CellFailed | None = None
        shown, replied, idle = [], False, False
        while not (replied and idle):
            message = json.loads(self._socket.recv())
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                shown.append(content["text"])
            elif kind in {"execute_result", "display_data"}:
                shown.append(content["data"].get("text/plain", "") + "\n")
            elif kind == "error":
                failure = CellFailed("\n".join(content["traceback"]))
            elif kind == "execute_reply":
                assert content["status"] in {"ok", "error"}, content
                replied = True
            idle |= kind == "status" and content["execution_state"] == "idle"
        if failure is not None:
            raise failure
        return "".join(shown)

    def value(self, expression: str) -> Any:
        """What an expression is in the kernel, by way of JSON."""
        return json.loads(self.run(f"import json; print(json.dumps({expression}))"))

    def environment(self) -> dict[str, str]:
        """The kernel's environment, as its process was given it."""
        variables: dict[str, str] = self.value("dict(__import__('os').environ)")
        return variables

    def _connect(self) -> None:
        self._socket = websocket.create_connection(
            f"{self._server.url.replace('http', 'ws', 1)}/api/kernels/{self.id}/channels",
            header={"Authorization": f"Bearer {self._server.token}"},
            timeout=PATIENCE,
            http_no_proxy=["*"],
            sslopt={"context": self._server.trusted},
        )

    def _send(self, kind: str, content: dict[str, Any]) -> str:
        identity = uuid.uuid4().hex
        header = {
            "msg_id": identity,
            "msg_type": kind,
            "username": "",
            "session": self.id,
            "version": "5.3",
            "date": "",
        }
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._socket.send(json.dumps(message))
        return identity
