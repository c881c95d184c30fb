"""A stand-in of the Hugging Face hub's HTTP protocol, as far as `huggingface_hub` speaks it for downloads.

``GET /api/models/<repo>`` tells of the files; ``HEAD|GET /<repo>/resolve/<revision>/<file>`` of one, with the
headers that carry commit, size and checksum, and with ranges; what a test scripts goes wrong. An answer that is to
have the header ``Connection: close`` tells no length: its body ends with its connection.
"""

import hashlib
import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40
PIECE = 4096


@dataclass
class Repo:
    """Files by path; who may have them; what is told of them in place of the truth."""

    files: dict[str, bytes]
    gated: bool = False
    token: str | None = None
    info: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """A request, as it came."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class HubAnswer:
    """What is sent in place of a file."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Script:
    """What goes wrong with the bodies of files.

    Attributes:
        instead: what the next downloads get in place of their file, in order.
        cuts: after how many bytes the next answers break off, in order; those after them are whole.
        corrupt: send other bytes than the checksum is of.
        ignore_ranges: answer 200 and everything.
        hold_after: bytes after which an answer waits for `release`.
        held: set when an answer waits.
    """

    instead: list[HubAnswer] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    corrupt: bool = False
    ignore_ranges: bool = False
    hold_after: int | None = None
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


class FakeHub:
    """The stand-in; a context in which it answers on the loopback address."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.script = Script()
        self.seen: list[Seen] = []

        class Handler(_Handler):
            hub = self

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo: str, files: dict[str, bytes], **more) -> Repo:
        self.repos[repo] = Repo(files, **more)
        return self.repos[repo]

    def ranges(self) -> list[str | None]:
        """The `Range` of each download, in order."""
        return [seen.range for seen in self.seen if seen.method == "GET" and "/resolve/" in seen.path]

    def __enter__(self) -> "FakeHub":
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.script.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are what is tested here, and no failure."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = self.headers
        self.hub.seen.append(Seen(self.command, path, headers.get("Range"), headers.get("Authorization")))
        is_api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        name = "/".join(parts[:2])
        repo = next((repo for known, repo in self.hub.repos.items() if known.lower() == name.lower()), None)
        if repo is None or (repo.token and headers.get("Authorization") != f"Bearer {repo.token}" and not repo.gated):
            # The hub does not tell strangers what is private from what does not exist.
            self._fail(401 if headers.get("Authorization") is None else 404, "RepoNotFound")
        elif is_api:
            canonical = next(known for known in self.hub.repos if known.lower() == name.lower())
            info = json.dumps(_model_info(canonical, repo)).encode() if repo.info is None else repo.info
            self._send(info, {"Content-Type": "application/json"})
        elif repo.gated and headers.get("Authorization") != f"Bearer {repo.token}":
            self._fail(403, "GatedRepo")
        elif (content := repo.files.get("/".join(parts[4:]))) is None:
            self._fail(404, "EntryNotFound")
        elif with_body and self.hub.script.instead:
            answer = self.hub.script.instead.pop(0)
            self._send(answer.body, answer.headers, answer.status)
        else:
            self._send_file(content, repo.headers, with_body=with_body)

    def _fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        self._send_headers(headers, len(body))
        with suppress(ConnectionError):  # the client left
            self.wfile.write(body)

    def _send_headers(self, headers: dict[str, str], length: int) -> None:
        for key, value in headers.items():
            self.send_header(key, value)
        if "Connection" not in headers:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send_file(self, content: bytes, headers: dict[str, str], *, with_body: bool) -> None:
        script = self.hub.script
        digest = sha256(content)
        start = 0
        if (asked := self.headers.get("Range")) and not script.ignore_ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        told = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', **linked, **headers}
        self._send_headers(told, len(content) - start)
        if with_body:
            sent = bytes(255 - byte for byte in content) if script.corrupt else content
            self._send_body(sent[start:], script)

    def _send_body(self, body: bytes, script: Script) -> None:
        cut = script.cuts.pop(0) if script.cuts else len(body)
        try:
            for at in range(0, min(cut, len(body)), PIECE):
                if script.hold_after is not None and at >= script.hold_after:
                    script.held.set()
                    script.release.wait(30)
                self.wfile.write(body[at : min(at + PIECE, cut)])
                self.wfile.flush()
        except ConnectionError:
            pass  # the client left
        if cut < len(body):
            self.close_connection = True


def _model_info(name: str, repo: Repo) -> dict[str, object]:
    siblings = [{"rfilename": path} for path in repo.files]
    return {"id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
