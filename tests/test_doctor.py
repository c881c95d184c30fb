"""What the doctor says of a configuration and of servers that are not what they should be."""

from __future__ import annotations

import os
from itertools import islice

import pytest

from bodhi_jupyter.doctor import Setup, Verdict, examine
from bodhi_jupyter.running import RunningServer
from bodhi_jupyter.wire.provider_variables import PROVIDERS

SOURCE = "BODHI_BACKEND_URL"


def of_backend(url: str) -> tuple[Verdict, str]:
    """What is found of a configured server."""
    (configuration,) = (
        section for section in examine([], Setup(True, {SOURCE: url}, "", ""), 0) if section.title == "Configuration"
    )
    finding = configuration.findings[0]
    return finding.verdict, finding.text


def test_a_folder_of_the_configuration_that_is_not_there_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "models").mkdir()

    def found(folder: str) -> list[tuple[Verdict, str]]:
        setup = Setup(True, {}, "", "", folders=[("c.BodhiExtension.model_folders", folder)])
        (configuration,) = (section for section in examine([], setup, 0) if section.title == "Configuration")
        return [(one.verdict, one.text) for one in configuration.findings if "folder" in one.text]

    assert found("~/models") == []
    assert found("~/model") == [(Verdict.WRONG, "c.BodhiExtension.model_folders: there is no folder ~/model.")]


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


@pytest.mark.parametrize(
    ("running", "kernel_url", "exported", "is_ours"),
    [
        ([], "", "http://127.0.0.1:8888", True),
        ([], "", "http://10.0.0.5:8888", False),
        (["http://10.0.0.5:8888"], "", "http://10.0.0.5:8888", True),
        (["http://127.0.0.1:8888", "http://10.0.0.5:8889"], "", "http://10.0.0.5:8889", True),
        (["http://10.0.0.5:8888"], "", "http://10.0.0.6:8888", False),
        ([], "https://hub.example/user/ann/", "https://hub.example/user/ann", True),
        (["http://10.0.0.5:8888"], "https://hub.example/user/ann", "https://hub.example/user/bob", False),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS, ids=[provider.name for provider in PROVIDERS])
def test_what_one_of_our_servers_exported_is_not_the_users(
    monkeypatch, provider, running, kernel_url, exported, is_ours
) -> None:
    for each in PROVIDERS:
        for name in each.set_by_user(os.environ):
            monkeypatch.delenv(name)
    monkeypatch.setenv(provider.url_variable, exported + provider.url_path)
    monkeypatch.setenv(provider.key_variable, "bodhi-one")
    servers = [RunningServer(url, "", "/", "") for url in running]
    sections = examine(servers, Setup(True, {}, "", kernel_url), 0)
    (configuration,) = (section for section in islice(sections, 2) if section.title == "Configuration")
    notes = [finding.text for finding in configuration.findings if finding.verdict is Verdict.NOTE]
    assert [provider.name in note for note in notes] == ([] if is_ours else [True])


@pytest.mark.parametrize(
    ("limits", "verdict", "says"),
    [
        ({"user": {"streams": 4}}, Verdict.OK, "limited"),
        ({"user": {"request_per_minute": 4}}, Verdict.WRONG, "limits.user.request_per_minute"),
        ('{"user": {"streams": true}}', Verdict.WRONG, "limits"),
    ],
)
def test_limits_that_a_server_would_refuse_are_wrong(limits: object, verdict: Verdict, says: str) -> None:
    sections = examine([], Setup(True, {}, "", "", limits=limits), 0)
    (configuration,) = (section for section in sections if section.title == "Configuration")
    finding = configuration.findings[1]
    assert finding.verdict is verdict
    assert says in finding.text


def of_setup(setup: Setup) -> list[tuple[Verdict, str]]:
    """What is found of the configuration."""
    (section,) = (section for section in examine([], setup, 0) if section.title == "Configuration")
    return [(finding.verdict, finding.text) for finding in section.findings]


@pytest.mark.parametrize("url", ["localhost:8888", "https:/localhost"])
def test_a_kernel_url_that_is_no_address_is_wrong(url):
    wrong = (Verdict.WRONG, "c.BodhiExtension.kernel_url is not the address of a server.")

    assert wrong in of_setup(Setup(True, {}, "", url))
    assert wrong not in of_setup(Setup(True, {}, "", "https://localhost:8888/"))


def test_that_kernels_are_given_nothing_on_purpose_is_told():
    note = (Verdict.NOTE, "c.BodhiExtension.kernel_env = 'never': new kernels are given neither addresses nor a key.")

    assert note in of_setup(Setup(True, {}, "", "", "never"))
    assert note not in of_setup(Setup(True, {}, "", ""))


def test_what_is_wrong_with_the_settings_is_told_once():
    fault = (Verdict.WRONG, "A backend cannot be called 'local'.")

    assert fault in of_setup(Setup(True, {}, "", "", fault=fault[1]))
    wrong = [verdict for verdict, _ in of_setup(Setup(True, {SOURCE: "gpu"}, "", "", fault="The same."))]
    assert wrong.count(Verdict.WRONG) == 1


def test_a_setting_that_there_is_not_is_told():
    found = of_setup(Setup(True, {}, "", "", unknown=["max_loaded_model", "colour"]))

    assert [text.split(":")[0] for verdict, text in found if verdict is Verdict.NOTE] == [
        "c.BodhiExtension.max_loaded_model",
        "c.BodhiExtension.colour",
    ]
