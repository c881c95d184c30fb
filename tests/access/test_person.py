"""Whom a request counts for."""

import pytest

from bodhi_jupyter.access.keys import KeyHolder
from bodhi_jupyter.access.person import OWNER, person_of, server_owner

GENERATED = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("holder", "username", "display_name", "person"),
    [
        # Scoped keys are the owner's, whatever they were made for.
        ("kernel:1", "kernel:1", "kernel:1", "ann"),
        ("kernel:2", "kernel:2", "kernel:2", "ann"),
        ("terminal:1", "terminal:1", "terminal:1", "ann"),
        ("key:editor", "key:editor", "key:editor", "ann"),
        # The server's token, too: Jupyter makes up a user for it.
        (None, GENERATED, "Anonymous Ganymede", "ann"),
        # Users with names of their own are themselves.
        (None, "bob", "Bob", "bob"),
        (None, "ann", "Ann", "ann"),
        (None, GENERATED, "Bob", GENERATED),
        (None, "Anonymous", "Anonymous Bob", "Anonymous"),
    ],
)
def test_the_person(holder: str | None, username: str, display_name: str, person: str) -> None:
    assert person_of(KeyHolder(holder) if holder else None, username, display_name, "ann") == person


@pytest.mark.parametrize(
    ("env", "owner"), [({"JUPYTERHUB_USER": "ann"}, "ann"), ({"JUPYTERHUB_USER": ""}, OWNER), ({}, OWNER)]
)
def test_the_owner_of_a_server(env: dict[str, str], owner: str) -> None:
    assert server_owner(env) == owner
