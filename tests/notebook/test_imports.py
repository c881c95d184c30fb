"""What is loaded when, and what a kernel's environment has to have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bodhi_jupyter

NOTEBOOK = Path(bodhi_jupyter.__file__).parent / "notebook"
MODULES = sorted(f"bodhi_jupyter.notebook.{path.stem}" for path in NOTEBOOK.glob("*.py") if path.stem != "__init__")

BLOCKED = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"jupyter_server", "tornado", "jupyterlab", "xllamacpp", "gguf", "openai"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_kernels_side_needs_no_server_and_no_engine():
    ended = python(BLOCKED, *MODULES)

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", [name for name in bodhi_jupyter.__all__ if name != "__version__"])
def test_public_names_are_there_when_asked_for(name):
    assert getattr(bodhi_jupyter, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bodhi_jupyter.nothing  # noqa: B018


def test_the_package_itself_loads_nothing():
    ended = python(
        "import bodhi_jupyter, sys; print(*[name for name in sys.modules if name.startswith('bodhi_jupyter.')])"
    )

    assert ended.stdout.strip() == ""
