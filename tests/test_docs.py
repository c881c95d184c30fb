"""The documentation says what is true of the code, where a machine can tell."""

from __future__ import annotations

import ast
import json
import re
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from bodhi_jupyter.access.limit_settings import parse_limits
from bodhi_jupyter.catalog.alias_file import parse_text
from bodhi_jupyter.settings import BodhiSettings
from bodhi_jupyter.wire.provider_variables import PROVIDERS
from bodhi_jupyter.wire.usage_query import GROUPS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

SETTINGS = set(BodhiSettings.class_own_traits(config=True))


def documented() -> dict[str, str]:
    return dict(re.findall(r"^\| `c\.BodhiExtension\.(\w+)` \| `(.*?)` \|", CONFIGURATION, re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else():
    assert set(documented()) == SETTINGS


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_defaults_are_as_documented(name, monkeypatch):
    monkeypatch.delenv("BODHI_BACKEND_URL", raising=False)
    monkeypatch.delenv("BODHI_BACKEND_API_KEY", raising=False)
    monkeypatch.delenv("BODHI_LIMITS_STORAGE", raising=False)
    default = getattr(BodhiSettings(), name)
    spelt = f"{default:g}" if isinstance(default, float) else '""' if default == "" else str(default)

    assert documented()[name] == spelt


def test_the_readme_lists_what_kernels_are_given():
    for provider in PROVIDERS:
        assert f"`{provider.url_variable}`, `{provider.key_variable}`" in README


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_what_leaves_a_row_alone_is_listed(provider):
    (row,) = re.findall(rf"^\| {provider.name}'s (.*?) \|", CONFIGURATION, re.MULTILINE)

    assert set(re.findall(r"`(.*?)`", row)) == set(provider.names)


def test_the_alias_in_the_documentation_is_one():
    (text,) = re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)

    assert parse_text(text.encode()).alias == "tutor"


def test_the_limits_in_the_documentation_are_some():
    text = CONFIGURATION + (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    examples = re.findall(r"^c\.BodhiExtension\.limits = (\{.*?^\})", text, re.DOTALL | re.MULTILINE)
    examples += re.findall(r"--BodhiExtension\.limits=(\{.*\})'", text)

    assert len(examples) == 3
    for example in examples:
        assert list(parse_limits(ast.literal_eval(example)).limits_of("ann", "toy"))


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a Markdown text."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(name: str):
    path = ROOT / name
    for file, fragment in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", path.read_text(encoding="utf-8")):
        target = path.parent / file if file else path
        assert target.exists(), file
        if fragment:
            assert fragment in anchors(target.read_text(encoding="utf-8")), f"{file}#{fragment}"


def test_every_module_is_in_the_architecture_where_its_room_is():
    _, *found = re.split(r"^- \*\*`(\w+)/`\*\*", ARCHITECTURE, flags=re.MULTILINE)
    rooms = dict(zip(found[::2], found[1::2], strict=True))
    package = ROOT / "bodhi_jupyter"
    unnamed = []
    for path in package.glob("**/*.py"):
        text = ARCHITECTURE if path.parent == package else rooms[path.relative_to(package).parts[0]]
        if path.stem != "__init__" and not is_named(path.stem, text):
            unnamed.append(path.name)
    assert unnamed == []


def is_named(module: str, text: str) -> bool:
    """Whether the text has it in backticks, by its name or by a pattern such as `manage_*.py`."""
    return any(fnmatch(module, name) for name in re.findall(r"`([\w*]+)\.py`", text))


def test_the_rooms_in_the_documentation_are_those_there_are():
    rooms = {path.parent.name for path in (ROOT / "bodhi_jupyter").glob("*/**/__init__.py")}

    assert {name for name in rooms if f"`{name}/`" in ARCHITECTURE} == rooms


def metric_names() -> set[str]:
    """Ours, as Prometheus names them."""
    import_module("bodhi_jupyter.services")  # registers them
    suffix = {"counter": "_total"}
    families = [family for family in REGISTRY.collect() if family.name.startswith("bodhi_")]
    return {family.name + suffix.get(family.type, "") for family in families}


def test_every_metric_is_documented_and_nothing_else():
    assert set(re.findall(r"`(bodhi_\w+)`", MONITORING)) == metric_names()


def test_the_dashboard_shows_metrics_that_there_are():
    dashboard = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    shown = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"bodhi_\w+", target["expr"])
    }
    assert shown <= metric_names()
    assert len(shown) > 15
    places = [tuple(panel["gridPos"][name] for name in "xy") for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


def test_the_dashboard_adds_up_many_servers_by_labels_that_there_are():
    """A label that a metric has not makes one line of all; a line that is no sum is there once for each server."""
    dashboard = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    labels = {
        name: set(re.findall(r"`(\w+)`", of))
        for names, of in re.findall(r"^\| (`(?:bodhi_|llamacpp:).*?) \| (.*?) \|", MONITORING, re.MULTILINE)
        for name in re.findall(r"bodhi_\w+|llamacpp:", names)
    }
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            (name,) = re.findall(r"bodhi_\w+|llamacpp:", expression)
            name = re.sub(r"_(bucket|count|sum)$", "", name)
            by = {label for group in re.findall(r"by \((.*?)\)", expression) for label in group.split(", ")} - {"le"}
            assert "sum" in expression, expression
            assert by <= labels[name], expression
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == by, expression


def test_every_event_is_documented():
    schemas = (ROOT / "bodhi_jupyter" / "telemetry" / "events").glob("*.yaml")
    names = {re.search(r'"\$id": (\S+)', schema.read_text(encoding="utf-8"))[1] for schema in schemas}
    assert set(re.findall(r"`(https://events\.\S+)`", MONITORING)) == names


def test_the_usage_that_is_documented_is_what_may_be_asked():
    (groups,) = re.findall(r"^\| `by` \| some of (.*?), with", MONITORING, re.MULTILINE)
    assert tuple(re.findall(r"`(\w+)`", groups)) == GROUPS
