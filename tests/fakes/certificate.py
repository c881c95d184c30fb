"""Certificates for this machine, of an authority that nobody trusts unless told to."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

import pytest
import trustme


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def of_server() -> ssl.SSLContext:
    """What a server on the loopback address shows its certificate with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert("127.0.0.1").configure_cert(context)
    return context


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have the environment name the authority, as that of a company does."""
    path = folder / "authority.pem"
    _authority().cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
