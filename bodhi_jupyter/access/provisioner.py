"""Puts our addresses and a scoped key into every kernel that a Jupyter server starts on its own machine.

The provisioner finds the server's `KernelAccess` through its parents (kernel manager, multi kernel manager, server).
Where there is none (nbclient, plain jupyter_client) a kernel gets no address and no key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from ..wire.provider_variables import Provider
from .environment import Mode, has_proxy_variables, kernel_variables, without_secrets

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from jupyter_client.connect import KernelConnectionInfo
    from traitlets.config import LoggingConfigurable

    from .keys import KeyRing

#: Where `web_app.settings` holds the server's `KernelAccess`.
SETTING = "bodhi_kernel_access"

#: The entry point's name in pyproject.toml.
PROVISIONER = "bodhi-provisioner"
JUPYTERS_OWN = "local-provisioner"


@dataclass(frozen=True)
class Grant:
    """What a kernel was given at its start.

    Attributes:
        key: the scoped key; whoever holds the grant revokes it at the process's end.
        variables: what to add to the kernel's environment.
    """

    key: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)


@dataclass
class KernelAccess:
    """One per server: what its kernels are given.

    Attributes:
        keys: the ring that the handlers verify against.
        mode: the trait ``kernel_env``.
        log: the server's logger.
        base_url: the server's address for kernels, without a trailing slash. None, as long as it is not known or
            where kernels could not use it: nothing is set then.
    """

    keys: KeyRing
    mode: Mode
    log: logging.Logger | logging.LoggerAdapter[Any]
    base_url: str | None = None
    _told: set[str] = field(default_factory=set, init=False, repr=False)

    def grant(self, holder: str, env: Mapping[str, str]) -> Grant | None:
        """Mint a key and decide on the variables for one kernel start, or None where nothing is to be set.

        Args:
            holder: ``kernel:<kernel id>``.
            env: the environment that the kernel would get.
        """
        if self.base_url is None:
            return None
        key = self.keys.mint(holder)
        has_own_proxies = has_proxy_variables(env) or has_proxy_variables(os.environ)
        system_proxies = {} if has_own_proxies else getproxies()
        additions, left_alone = kernel_variables(self.base_url, key, env, self.mode, system_proxies)
        for provider in left_alone:
            self._tell_once(provider, provider.set_by_user(env, self.base_url))
        if not additions:
            self.keys.revoke(key)
            return None
        return Grant(key, additions)

    def _tell_once(self, provider: Provider, names: Sequence[str]) -> None:
        if provider.name in self._told:
            return
        self._told.add(provider.name)
        self.log.info(
            "%s is set, so kernels keep their own %s settings; c.BodhiExtension.kernel_env = 'always' replaces them.",
            ", ".join(names),
            provider.name,
        )


class BodhiProvisioner(LocalProvisioner):
    """Jupyter's local provisioner, plus our variables; ``BODHI_*`` secrets never reach a kernel."""

    _access: KernelAccess | None = None
    _grant: Grant | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Prepare a launch as Jupyter does, with a fresh key in ``env``; runs on every start and restart."""
        self._withdraw()
        prepared = await super().pre_launch(**kwargs)
        # Jupyter's part first: `env` is then complete, with the kernelspec's own variables, and a copy. What is put
        # into the caller's dict would come back at a restart and look like the user's.
        prepared["env"] = env = without_secrets(prepared["env"])
        self._access = find_access(self.parent)
        if self._access is not None:
            self._grant = self._access.grant(f"kernel:{self.kernel_id}", env)
        if self._grant is not None:
            env.update(self._grant.variables)
        return prepared

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch; a launch that fails leaves no valid key behind."""
        try:
            return await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            self._withdraw()
            raise

    async def poll(self) -> int | None:
        """Ask for the process's exit status, None while it runs; Jupyter does every few seconds."""
        had_process = self.has_process
        status = await super().poll()
        # Without a process, as between two launches, the answer is 0 too, and the key may be the next process's.
        if had_process and status is not None:
            self._withdraw()
        return status

    async def cleanup(self, restart: bool = False) -> None:
        """End what belonged to the process that is gone, the key included; before a restart as well."""
        self._withdraw()
        await super().cleanup(restart=restart)

    def _withdraw(self) -> None:
        if self._access is not None and self._grant is not None:
            self._access.keys.revoke(self._grant.key)
        self._grant = None


def find_access(parent: object | None) -> KernelAccess | None:
    """Find the `KernelAccess` of the server above `parent`, or None where no server of ours is above it."""
    while parent is not None:
        web_app = getattr(parent, "web_app", None)
        if web_app is not None:
            access: KernelAccess | None = web_app.settings.get(SETTING)
            return access
        parent = getattr(parent, "parent", None)
    return None


def make_default(app: LoggingConfigurable) -> bool:
    """Make ours the provisioner of kernels that name none, unless somebody chose another.

    Args:
        app: the server; gives the factory its configuration, should it not exist yet, and the log.

    Returns:
        Whether it was made the default; `restore_default` then undoes it.
    """
    factory = KernelProvisionerFactory.instance(parent=app)
    if factory.default_provisioner_name != JUPYTERS_OWN:
        return False
    if PROVISIONER not in factory.get_provisioner_entries():
        app.log.warning(
            "The kernel provisioner '%s' is not registered, so kernels start without OPENAI_BASE_URL and its like: "
            "install the package (pip install .) instead of importing it from a checkout.",
            PROVISIONER,
        )
        return False
    factory.default_provisioner_name = PROVISIONER
    return True


def restore_default() -> None:
    """Undo a `make_default` that returned True; the factory belongs to the whole process and outlives a server."""
    factory = KernelProvisionerFactory.instance()
    if factory.default_provisioner_name == PROVISIONER:
        factory.default_provisioner_name = JUPYTERS_OWN
