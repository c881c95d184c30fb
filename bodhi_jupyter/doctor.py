"""What ``jupyter bodhi doctor`` looks at, and what it says: for people who did not write any of this."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .access.environment import kernel_base_url
from .access.limit_settings import parse_limits
from .access.limit_storage import counters_at
from .access.provisioner import PROVISIONER
from .backends.launch import BinaryLauncher, EmbeddedLauncher, Launcher
from .backends.pool import LocalPool
from .models.box import GUIDE
from .running import RunningServer, Unreachable
from .settings import BodhiSettings
from .wire.provider_variables import PROVIDERS

#: A question to the default model may have to wait until it is loaded.
ANSWER_SECONDS = 120.0


class Verdict(Enum):
    """How a finding is meant."""

    OK = "ok"
    #: Not wrong, but it explains what somebody may wonder about.
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        text: what was found.
        advice: what to do about it, or "".
    """

    verdict: Verdict
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Section:
    """The findings about one place."""

    title: str
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Setup:
    """What a server that is started from here would be told.

    Attributes:
        enabled: whether Jupyter loads the extension.
        backends: the configured servers: what configures one, and its address.
        llama_server: the binary that runs local models in place of the embedded engine, or "".
        kernel_url: the configured address of the server as kernels see it, or "".
        kernel_env: which variables kernels are given.
        folders: the configured folders of models and aliases, each behind the setting that names it.
        limits: as they are configured, right or wrong; None without any.
        limits_storage: the configured address of a Redis, which may hold a password, or "".
        fault: what is wrong with the settings, for which a server answers nothing, or "".
        unknown: names of settings that there are not.
    """

    enabled: bool
    backends: Mapping[str, str]
    llama_server: str
    kernel_url: str
    kernel_env: str = "auto"
    folders: Sequence[tuple[str, str]] = ()
    limits: object = None
    limits_storage: str = ""
    fault: str = ""
    unknown: Sequence[str] = ()


def examine(servers: Sequence[RunningServer], setup: Setup, port: int) -> Iterator[Section]:
    """Look at the installation, at its configuration, and at each running server.

    Args:
        servers: those to look at.
        setup: the configuration.
        port: the only one of interest, or 0.
    """
    yield Section("Installation", list(_installation(setup)))
    yield Section("Configuration", list(_configuration(setup, servers)))
    for server in servers:
        yield Section(f"The server {server.url}, in {server.root}", list(_server(server, setup)))
    if not servers:
        yield Section("Servers", [_nobody(port)])


def report(sections: Iterable[Section]) -> tuple[str, bool]:
    """The text for a terminal, and whether nothing is wrong."""
    lines: list[str] = []
    wrong = 0
    for section in sections:
        lines.append(section.title)
        for finding in section.findings:
            lines.append(f"  {finding.verdict.value:<5}  {finding.text}")
            if finding.advice:
                lines.append(f"         -> {finding.advice}")
            wrong += finding.verdict is Verdict.WRONG
        lines.append("")
    if wrong:
        lines.append(f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong: see WRONG above.")
    else:
        lines.append("All is well.")
    return "\n".join(lines) + "\n", not wrong


# -- the installation ----------------------------------------------------------------------------------------


def _installation(setup: Setup) -> Iterator[Finding]:
    version = importlib.metadata.version("bodhi-jupyter")
    yield Finding(
        Verdict.OK, f"bodhi-jupyter {version}, Python {platform.python_version()}, {platform.platform(terse=True)}."
    )
    yield _engine(setup)
    yield _enabled(setup.enabled)
    if not importlib.metadata.entry_points(group="jupyter_client.kernel_provisioners", name=PROVISIONER):
        yield Finding(
            Verdict.WRONG,
            "New kernels are told nothing: the package is used from a folder and was never installed.",
            "pip install .    in that folder, then start Jupyter again",
        )
    yield _sdk()


def _engine(setup: Setup) -> Finding:
    launcher: Launcher = BinaryLauncher(setup.llama_server) if setup.llama_server else EmbeddedLauncher()
    reason = launcher.unavailable()
    if reason is None and setup.llama_server:
        return Finding(Verdict.OK, f"Local models are run by {setup.llama_server}.")
    if reason is None:
        return Finding(Verdict.OK, f"The llama.cpp engine is installed (xllamacpp {_version('xllamacpp')}).")
    if setup.llama_server:
        return Finding(Verdict.WRONG, reason, "Correct c.BodhiExtension.llama_server")
    if setup.backends:
        return Finding(Verdict.NOTE, "No llama.cpp engine is installed: only the configured servers answer.")
    return Finding(
        Verdict.WRONG,
        "No llama.cpp engine is installed, and no server is configured: nobody can answer.",
        "pip install xllamacpp    or, where it has no wheel, set BODHI_BACKEND_URL to a llama.cpp server's address",
    )


def _enabled(enabled: bool) -> Finding:
    if enabled:
        return Finding(Verdict.OK, "Jupyter loads the extension at its start.")
    return Finding(
        Verdict.WRONG,
        "Jupyter does not load the extension: it is not enabled in the configuration.",
        "jupyter server extension enable bodhi_jupyter    then start Jupyter again",
    )


def _sdk() -> Finding:
    version = _version("openai")
    if version:
        return Finding(Verdict.OK, f"The OpenAI SDK is installed (openai {version}).")
    return Finding(
        Verdict.NOTE,
        "The OpenAI SDK is not installed in this environment.",
        "pip install openai    in the environment that your notebooks run in",
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


# -- the configuration, as a server started from here would read it ------------------------------------------


def _configuration(setup: Setup, servers: Sequence[RunningServer]) -> Iterator[Finding]:
    settings = list(_settings(setup))
    yield from settings
    if setup.fault and all(finding.verdict is not Verdict.WRONG for finding in settings):
        yield Finding(Verdict.WRONG, f"{setup.fault.rstrip('.')}.", "Until it is right, a server answers nothing")
    yield from _kernel_settings(setup, servers)


def _settings(setup: Setup) -> Iterator[Finding]:
    for name in setup.unknown:
        meant = difflib.get_close_matches(name, BodhiSettings.class_trait_names(), n=1)
        yield Finding(
            Verdict.NOTE,
            f"c.BodhiExtension.{name}: there is no such setting, and it does nothing.",
            f"Perhaps {meant[0]} is meant" if meant else "",
        )
    for source, url in setup.backends.items():
        yield _backend(source, url)
    if not setup.backends:
        yield Finding(Verdict.OK, "No server is configured: models run on this machine.")
    for source, folder in setup.folders:
        if not Path(os.path.expanduser(folder)).is_dir():  # noqa: PTH111 - of a person unknown here a Path raises
            yield Finding(Verdict.WRONG, f"{source}: there is no folder {folder}.", "Correct it, or make the folder")
    if setup.limits:
        yield _limits(setup.limits, setup.limits_storage)


def _kernel_settings(setup: Setup, servers: Sequence[RunningServer]) -> Iterator[Finding]:
    if setup.kernel_env == "never":
        yield Finding(
            Verdict.NOTE,
            "c.BodhiExtension.kernel_env = 'never': new kernels are given neither addresses nor a key.",
            "Remove it, and start Jupyter again, for SDKs in notebooks to reach us by themselves",
        )
    if setup.kernel_url and _place(setup.kernel_url) is None:
        yield Finding(
            Verdict.WRONG,
            "c.BodhiExtension.kernel_url is not the address of a server.",
            "It has to look like https://localhost:8888/, and new kernels are told nothing until it does",
        )
    ours = [server.url for server in servers]
    if setup.kernel_url:
        ours.append(setup.kernel_url.rstrip("/"))
    for provider in PROVIDERS:
        found = provider.set_by_user(os.environ, *ours)
        if found:
            yield Finding(
                Verdict.NOTE,
                f"{' and '.join(found)} set in this terminal: notebooks of a server started from here keep your own "
                f"{provider.name} settings, and do not reach us by themselves.",
                f"unset {' '.join(found)}    to be answered by us, or set c.BodhiExtension.kernel_env = 'always'",
            )


def _backend(source: str, url: str) -> Finding:
    place = _place(url)
    if place is None:
        return Finding(
            Verdict.WRONG,
            f"{source} is not the address of a server.",
            "It has to look like http://127.0.0.1:8080",
        )
    return Finding(Verdict.OK, f"{source}: the server at {place}.")


def _limits(value: object, storage: str) -> Finding:
    try:
        parse_limits(value)
        counters_at(storage, lambda _: None)
    except ValueError as error:
        return Finding(
            Verdict.WRONG, f"c.BodhiExtension.{error} A server with that answers nothing.", "See docs/limits.md"
        )
    return Finding(Verdict.OK, "Requests are limited.")


def _place(url: str) -> str | None:
    """Scheme, host and port, without a name and a password before them; None where it is no address."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None  # of a host in brackets, or of a port
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if is_address else None


# -- running servers ----------------------------------------------------------------------------------------


def _nobody(port: int) -> Finding:
    if port:
        return Finding(
            Verdict.WRONG,
            f"No Jupyter server of yours on port {port} is running.",
            "`jupyter server list` shows those that do; a server that was killed is not among them",
        )
    return Finding(Verdict.NOTE, "No Jupyter server of yours is running.", "Start one: jupyter lab, or jupyter bodhi")


def _server(server: RunningServer, setup: Setup) -> Iterator[Finding]:
    try:
        answer = server.ask("GET", "/bodhi/health")
    except Unreachable as error:
        yield Finding(Verdict.WRONG, f"It does not answer: {error}.", error.advice)
        return
    backends = answer.document.get("backends")
    if not isinstance(backends, dict):
        yield _refusal(answer.status)
        return
    yield Finding(Verdict.OK, "It runs, and the extension in it.")
    for name, health in backends.items():
        yield _health(name, health, is_alone=len(backends) == 1)
    for file in answer.document.get("broken_files", []):
        place = f"{file['name']}, line {file['line']}" if file["line"] else file["name"]
        yield Finding(Verdict.NOTE, f"A file is not used: {place}: {file['reason']}")
    if not setup.kernel_url and setup.kernel_env != "never":
        yield from _kernels(server)
    yield from _models(server)


def _kernels(server: RunningServer) -> Iterator[Finding]:
    """Why its kernels may be told nothing, where no ``kernel_url`` is configured here."""
    parts = urlsplit(server.url)
    sock, certfile = server.socket, "a certificate" if parts.scheme == "https" else ""
    reachable = kernel_base_url(
        ip=parts.hostname or "", port=server.port or 0, base_url=parts.path, sock=sock, certfile=certfile
    )
    if reachable.url is None:
        yield Finding(
            Verdict.NOTE,
            "New kernels are given no address, unless this server was started with a kernel_url.",
            reachable.reason,
        )


def _refusal(status: int) -> Finding:
    if status == 404:
        return Finding(
            Verdict.WRONG,
            "It runs without the extension.",
            "Start it again, if it was started before the installation, or with a wrong setting, as its log tells; "
            "otherwise see Installation above: another environment's Jupyter may be running",
        )
    if status in {401, 403}:
        return Finding(
            Verdict.NOTE, "It is opened by a password or another login of its own, so it cannot be examined from here."
        )
    return Finding(Verdict.WRONG, f"It does not say how it is (status {status}).", "Its log may say why")


def _health(name: str, health: Mapping[str, Any], *, is_alone: bool) -> Finding:
    is_local = name == LocalPool.name
    what = "Local models" if is_local else f"The configured server {name!r}"
    detail = str(health["detail"]).rstrip(".")
    if health["ok"]:
        return Finding(Verdict.OK, f"{what}: {detail}.")
    if is_local:
        return Finding(Verdict.WRONG if is_alone else Verdict.NOTE, f"{what}: {detail}.")
    return Finding(
        Verdict.WRONG,
        f"{what}: {detail}.",
        "Start that server, or correct its address or key in the configuration and start Jupyter again",
    )


def _models(server: RunningServer) -> Iterator[Finding]:
    try:
        listed = server.ask("GET", "/v1/models?refresh=true").document.get("data") or []
        names = [str(model["id"]) for model in listed]
        started = time.monotonic()
        messages = [{"role": "user", "content": "Hello"}]
        answer = server.ask(
            "POST",
            "/v1/chat/completions",
            {"model": "default", "messages": messages, "max_tokens": 1},
            seconds=ANSWER_SECONDS,
        )
    except Unreachable as error:
        yield Finding(
            Verdict.WRONG,
            f"The default model did not answer: {error}.",
            "A large model takes long to load; one that hangs is ended by POST /bodhi/v1/models/NAME/stop, or by Stop "
            "now in the panel",
        )
        return
    yield Finding(Verdict.OK, f"Models: {', '.join(names) or 'none'}.")
    if answer.status != 200:
        yield Finding(Verdict.WRONG, f"The default model did not answer: {answer.error}")
        return
    name = answer.document.get("model")
    yield Finding(Verdict.OK, f"The default model, {name}, answered in {time.monotonic() - started:.1f} s.")
    if name == GUIDE.name:
        yield Finding(
            Verdict.NOTE,
            f"{GUIDE.name} is a model of 1 MB that knows this extension and nothing else.",
            "Ask it how to get a bigger model, or set BODHI_BACKEND_URL to a llama.cpp server's address",
        )
