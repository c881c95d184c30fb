"""A certificate for this machine, valid until 2120, whose key is no secret: `loopback.pem` holds both."""

from __future__ import annotations

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("loopback.pem")


def of_server() -> ssl.SSLContext:
    """What a server shows it with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context
