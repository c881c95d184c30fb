"""Which environment variables lead a kernel or a terminal here. Pure: mappings in, mappings out."""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from ..wire.address import connectable_host
from ..wire.provider_variables import PROVIDERS, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

#: ``auto``: providers the user has set nothing of. ``always``: all, over what the user set. ``never``: none.
Mode = Literal["auto", "always", "never"]
Shell = Literal["sh", "fish", "powershell", "cmd"]


class KernelVariables(NamedTuple):
    """What to add to an environment, and which providers stay as the user set them."""

    additions: dict[str, str]
    left_alone: tuple[Provider, ...]


def kernel_variables(
    base_url: str,
    key: str,
    existing_env: Mapping[str, str],
    mode: Mode,
    system_proxies: Mapping[str, str] | None = None,
) -> KernelVariables:
    """Decide on the variables that lead a kernel here.

    Args:
        base_url: of the Jupyter server, without a trailing slash: ``http://127.0.0.1:8888/user/ann``.
        key: a scoped key.
        existing_env: the environment the kernel would get; not changed.
        mode: of which providers they may be set.
        system_proxies: scheme to proxy URL, as the operating system's settings have them.
    """
    if mode == "never":
        return KernelVariables({}, ())
    left_alone = tuple(
        provider for provider in PROVIDERS if mode == "auto" and provider.set_by_user(existing_env, base_url)
    )
    additions: dict[str, str] = {}
    for provider in PROVIDERS:
        if provider not in left_alone:
            additions |= provider.variables(base_url, key) | provider.overrides(existing_env, key)
    if additions:
        additions |= _proxy_variables(base_url, existing_env, system_proxies or {})
    return KernelVariables(additions, left_alone)


def has_proxy_variables(env: Mapping[str, str]) -> bool:
    """Tell whether `env` says anything on proxies: the operating system's settings are then not consulted."""
    return any(value and name.lower().endswith("_proxy") for name, value in env.items())


def _proxy_variables(base_url: str, env: Mapping[str, str], system_proxies: Mapping[str, str]) -> dict[str, str]:
    """Keep calls to `base_url`, and the key in them, out of a proxy (both spellings: clients differ)."""
    found: dict[str, str] = {}
    if not has_proxy_variables(env):
        # Python asks macOS and Windows for their proxies only while no *_proxy variable is set; NO_PROXY is one.
        found = {f"{scheme}_proxy": url for scheme, url in system_proxies.items() if scheme != "no"}
    direct = _direct_hosts(base_url)
    for name, other in (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")):
        # Where both are set clients read the lower case one: it must not lose what only the other one says.
        value = env.get(name) or env.get(other) or ""
        hosts = [host.strip() for host in value.split(",") if host.strip()]
        missing = [host for host in direct if host not in hosts]
        if "*" not in hosts and missing:
            found[name] = ",".join(hosts + missing)
    return found


def _direct_hosts(base_url: str) -> list[str]:
    # "::1" only where it is needed: before 0.24.1 httpx refuses to make any client where NO_PROXY has it (measured).
    hosts = ["127.0.0.1", "localhost"]
    host = urlsplit(base_url).hostname or ""
    if _is_ip(host) and host not in hosts:
        hosts.append(host)
    return hosts


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_SECRET = re.compile(r"^BODHI_.*(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|LIMITS_STORAGE)", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"://[^/?#]*@")


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Copy `env` without the ``BODHI_*`` variables that hold secrets.

    In doubt a variable is dropped (``BODHI_MAX_TOKENS`` too): no kernel needs ours. A URL with a password in
    it is a secret whatever its name; and who could reach the storage of the limits could set them back.
    """
    return {name: value for name, value in env.items() if not _is_secret(name, value)}


def _is_secret(name: str, value: str) -> bool:
    if _SECRET.match(name):
        return True
    return name.upper().startswith("BODHI_") and bool(_PASSWORD_IN_URL.search(value))


@dataclass(frozen=True)
class KernelUrl:
    """The address a kernel can use, or why there is none.

    Attributes:
        url: without a trailing slash, or None.
        reason: where `url` is None, one sentence that says what to do.
    """

    url: str | None
    reason: str = ""


_KERNEL_URL_HINT = "set c.BodhiExtension.kernel_url to an address of this server that they can reach and trust"


def kernel_base_url(
    *, ip: str, port: int, base_url: str, sock: str = "", certfile: str = "", kernel_url: str = ""
) -> KernelUrl:
    """Work out the server's address as a kernel on the same machine sees it.

    Args:
        ip: what the server is bound to; may be "", ``localhost``, ``0.0.0.0``, ``::`` or a specific address.
        port: what it really listens on, which is decided only when the server starts.
        base_url: the server's path prefix: ``/`` or ``/user/ann/``.
        sock: the path of its Unix socket, or "".
        certfile: its TLS certificate, or "".
        kernel_url: the configured address, which wins over everything else; or "".
    """
    if kernel_url:
        return _explicit(kernel_url)
    if sock:
        return KernelUrl(
            None, f"The server listens on a Unix socket, which SDKs in kernels cannot use: {_KERNEL_URL_HINT}."
        )
    if certfile:
        return KernelUrl(
            None,
            "The server speaks TLS with a certificate that SDKs in kernels may not trust: "
            f"{_KERNEL_URL_HINT} (with a self-signed certificate, also set SSL_CERT_FILE to it for the kernels).",
        )
    return KernelUrl(f"http://{connectable_host(ip)}:{port}{base_url.rstrip('/')}")


def _explicit(kernel_url: str) -> KernelUrl:
    if not kernel_url.startswith(("http://", "https://")):
        return KernelUrl(None, "c.BodhiExtension.kernel_url has to start with http:// or https://.")
    return KernelUrl(kernel_url.rstrip("/"))


def shell_exports(variables: Mapping[str, str], shell: Shell) -> str:
    """Write the lines for a terminal that set `variables`, each ending in a newline.

    ``cmd`` lines are for the prompt (or ``for /f``), not for a batch file: there a ``%`` would have to be doubled.

    Raises:
        ValueError: a value holds what ``cmd`` has no way to quote: a quotation mark or a line break.
    """
    export = _EXPORT[shell]
    return "".join(f"{export(name, value)}\n" for name, value in variables.items())


def _sh_export(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish_export(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def _powershell_export(name: str, value: str) -> str:
    # PowerShell ends a single-quoted string at typographic quotation marks too.
    quoted = re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value)
    return f"$env:{name} = '{quoted}'"


def _cmd_export(name: str, value: str) -> str:
    if re.search(r'["\r\n]', value):
        message = f"{name} holds a character that cmd cannot quote"
        raise ValueError(message)
    return f'set "{name}={value}"'


_EXPORT = {"sh": _sh_export, "fish": _fish_export, "powershell": _powershell_export, "cmd": _cmd_export}
