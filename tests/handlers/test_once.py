"""What is worked out once must stay what Jupyter would say each time."""

from __future__ import annotations

import pytest
from jupyter_server.base.handlers import APIHandler

from bodhi_jupyter.handlers import once

PATH = "v1/models"


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The hosts that Jupyter was asked for."""
    hosts: list[str] = []
    check = APIHandler.check_host

    def noted(self: APIHandler) -> bool:
        hosts.append(self.request.host)
        return check(self)

    monkeypatch.setattr(APIHandler, "check_host", noted)
    return hosts


async def test_an_allowed_host_is_asked_for_once(client, asked) -> None:
    for _ in range(3):
        assert (await client.get(PATH)).status_code == 200
    assert len(asked) == 1


async def test_a_refused_host_is_refused_each_time(client, asked) -> None:
    for _ in range(2):
        assert (await client.get(PATH, headers={"Host": "evil.example"})).status_code == 403
    assert (await client.get(PATH)).status_code == 200
    assert set(asked[:-1]) == {"evil.example"}


async def test_no_more_hosts_are_remembered_than_a_few(client, asked, monkeypatch) -> None:
    monkeypatch.setattr(once, "_MOST_HOSTS", 1)
    for port in (1, 2, 2):
        assert (await client.get(PATH, headers={"Host": f"localhost:{port}"})).status_code == 200
    assert asked == ["localhost:1", "localhost:2", "localhost:2"]


async def test_the_security_policy_is_jupyters(client) -> None:
    policies = [(await client.get(PATH)).headers["content-security-policy"] for _ in range(2)]
    assert policies[0] == policies[1]
    assert "frame-ancestors 'self'" in policies[0]
    assert policies[0].endswith("default-src 'none'")
