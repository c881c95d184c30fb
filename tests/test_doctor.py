"""What the doctor says of a configuration and of servers that are not what they should be."""

from __future__ import annotations

import pytest

from bodhi_jupyter.doctor import Setup, Verdict, examine

SOURCE = "BODHI_BACKEND_URL"


def of_backend(url: str) -> tuple[Verdict, str]:
    """What is found of a configured server."""
    (configuration,) = (
        section for section in examine([], Setup(True, {SOURCE: url}, ""), 0) if section.title == "Configuration"
    )
    finding = configuration.findings[0]
    return finding.verdict, finding.text


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("https://ann:secret@gpu-box/v1", "https://gpu-box"),
    ],
)
def test_a_configured_server_is_named_without_its_password(url, place):
    assert of_backend(url) == (Verdict.OK, f"{SOURCE}: the server at {place}.")


@pytest.mark.parametrize(
    "url", ["http://[bad", "http://", "ftp://gpu-box", "gpu-box:8080", "http://a:99999", "http://a:b"]
)
def test_what_is_no_address_is_a_finding(url):
    assert of_backend(url) == (Verdict.WRONG, f"{SOURCE} is not the address of a server.")
