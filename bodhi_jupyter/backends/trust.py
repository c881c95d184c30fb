"""Whom connections over TLS trust."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_log = logging.getLogger(__name__)


def trusted() -> ssl.SSLContext:
    """The usual authorities, and beside them those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name.

    The variables may be meant for something else, as a notebook server's own certificate is: what they name takes
    nobody's place, and where it cannot be read the log says so. Blocks.
    """
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or folder:
        try:
            context.load_verify_locations(file or None, folder or None)
        except OSError as error:
            _log.warning("What SSL_CERT_FILE or SSL_CERT_DIR names is not trusted: %s", error.strerror)
    return context
