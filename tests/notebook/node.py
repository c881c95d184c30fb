"""The chat's browser side in Node: what needs no page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bodhi_jupyter.notebook import view

SOURCES = sorted(Path(view.__file__).parent.glob("*.js"))
FAKE_MODEL = Path(__file__).with_name("fake_model.js").read_text(encoding="utf-8")
#: `tell` gives to the test; `settle` waits until all that is due now has happened.
_WITHOUT_A_PAGE = """
globalThis.document = { cookie: "", getElementById: () => null };
const given = [];
const tell = (value) => given.push(value);
process.on("exit", () => console.log(JSON.stringify(given.length === 1 ? given[0] : given)));
const settle = async () => {
  // On a busy machine one timer may come before one that was begun after it; of several the last comes behind it.
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setTimeout(resolve, 1));
};
"""


def node() -> str:
    """Node, of the machine or in Playwright's package."""
    if found := shutil.which("node"):
        return found
    try:
        import playwright
    except ImportError:
        pass
    else:
        bundled = Path(playwright.__file__).parent / "driver" / "node"
        if bundled.exists():
            return str(bundled)
    if os.environ.get("BODHI_BROWSER_TESTS") == "1":
        pytest.fail("BODHI_BROWSER_TESTS=1, but there is no node")
    pytest.skip("there is no node")


def check(source: str, folder: Path) -> str:
    """What Node has against a module; "" for nothing."""
    return _node(source, folder, "--check").stderr


def run(entry: str, script: str, folder: Path) -> Any:
    """Run a script behind a module of the view; what it gave to `tell`, as a list unless it was one thing."""
    source = "\n".join([_WITHOUT_A_PAGE, FAKE_MODEL, view.view_module(entry), script])
    ended = _node(source, folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def _node(source: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    path = folder / "module.mjs"
    path.write_text(source, encoding="utf-8")
    return subprocess.run(
        [node(), *options, path], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )
