"""The person that a request counts for, whichever key it came with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .keys import KeyHolder

#: Who a server belongs to where no Hub says it.
OWNER = "owner"
#: Jupyter makes up a user for whoever has the server's token, a new one for each request without a cookie
#: (its `IdentityProvider.generate_anonymous_user`).
_GENERATED_NAME = re.compile(r"[0-9a-f]{32}")
_GENERATED_DISPLAY_NAME = "Anonymous "


def server_owner(env: Mapping[str, str]) -> str:
    """The Hub's user whose server this is; without a Hub one constant person, so that all kernels count together."""
    return env.get("JUPYTERHUB_USER", "") or OWNER


def person_of(holder: KeyHolder | None, username: str, display_name: str, owner: str) -> str:
    """A user with a name of their own is that person; everybody else is the server's owner.

    Args:
        holder: whose scoped key was sent, if any: kernels, terminals and long-lived keys are all the owner's.
        username: Jupyter's user.
        display_name: what Jupyter shows for that user.
        owner: see `server_owner`.
    """
    if holder is not None:
        return owner
    generated = _GENERATED_NAME.fullmatch(username) and display_name.startswith(_GENERATED_DISPLAY_NAME)
    return owner if generated else username
