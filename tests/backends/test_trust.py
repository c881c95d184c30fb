"""Whom connections over TLS trust, whatever the environment says."""

from __future__ import annotations

import logging

import pytest

from bodhi_jupyter.backends.trust import trusted
from tests.fakes.certificate import trust


@pytest.fixture
def usual(monkeypatch) -> int:
    """How many authorities are trusted where the environment names none."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return len(trusted().get_ca_certs())


def test_what_the_environment_names_is_trusted_beside_the_usual(usual, monkeypatch, tmp_path) -> None:
    trust(monkeypatch, tmp_path)

    assert len(trusted().get_ca_certs()) == usual + 1


@pytest.mark.parametrize("text", [None, "no certificate", ""])
def test_what_cannot_be_read_takes_nothing_away(usual, monkeypatch, tmp_path, caplog, text) -> None:
    path = tmp_path / "stale.pem"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    with caplog.at_level(logging.WARNING):
        assert len(trusted().get_ca_certs()) == usual
    assert "SSL_CERT_FILE" in caplog.text
    assert str(tmp_path) not in caplog.text
