"""The documentation says what is true of the code, where a machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bodhi_jupyter.access.environment import FAMILIES
from bodhi_jupyter.catalog.alias_file import parse_text
from bodhi_jupyter.extension import BodhiExtension

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

#: Traits of the server application's own, not of what it does.
SETTINGS = set(BodhiExtension.class_own_traits(config=True)) - set(BodhiExtension.__mro__[1].class_traits())


def documented() -> dict[str, str]:
    return dict(re.findall(r"^\| `c\.BodhiExtension\.(\w+)` \| `(.*?)` \|", CONFIGURATION, re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else():
    assert set(documented()) == SETTINGS


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_defaults_are_as_documented(name, monkeypatch):
    monkeypatch.delenv("BODHI_BACKEND_URL", raising=False)
    monkeypatch.delenv("BODHI_BACKEND_API_KEY", raising=False)
    default = getattr(BodhiExtension(), name)
    spelt = f"{default:g}" if isinstance(default, float) else '""' if default == "" else str(default)

    assert documented()[name] == spelt


def test_the_readme_lists_what_kernels_are_given():
    for family in FAMILIES:
        assert f"`{family.url_variable}`, `{family.key_variable}`" in README


def test_the_alias_in_the_documentation_is_one():
    (text,) = re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)

    assert parse_text(text.encode()).alias == "tutor"


def test_links_lead_somewhere():
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert path.parent.joinpath(target).exists(), target


def test_every_module_is_in_the_architecture():
    modules = {path.stem for path in (ROOT / "bodhi_jupyter").glob("*/*.py") if path.stem != "__init__"}
    named = set(re.findall(r"`(\w+)\.py`", ARCHITECTURE))
    patterns = [re.compile(name.replace("*", r"\w*")) for name in re.findall(r"`([\w*]*\*[\w*]*)\.py`", ARCHITECTURE)]

    assert {name for name in modules if name not in named and not any(one.fullmatch(name) for one in patterns)} == set()


def test_the_rooms_in_the_documentation_are_those_there_are():
    rooms = {path.parent.name for path in (ROOT / "bodhi_jupyter").glob("*/__init__.py")}

    assert {name for name in rooms if f"`{name}/`" in ARCHITECTURE} == rooms
