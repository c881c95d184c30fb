"""A person opens the quickstart in JupyterLab and runs it."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
CHOICE = '["amber", "jade", "ruby"]'


def test_the_quickstart_in_jupyterlab(visit, lab):
    word = f"stone-{secrets.token_hex(4)}"
    source = NOTEBOOK.read_text(encoding="utf-8")
    # In the file's JSON; the one value that only the engine, forced by this very schema, can give back.
    assert json.dumps(CHOICE)[1:-1] in source
    (lab.root / "quickstart.ipynb").write_text(
        source.replace(json.dumps(CHOICE)[1:-1], json.dumps(json.dumps([word]))[1:-1]), encoding="utf-8"
    )
    page = visit.page
    page.goto(f"{lab.url}/lab/tree/quickstart.ipynb?token={lab.token}&reset")
    # JupyterLab loses cells that are run while it connects to the kernel, with and without extensions (measured), and
    # its execution indicator says "idle" before there is a kernel at all.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()

    page.get_by_text("Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()

    answer = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output")
    answer.wait_for()
    outputs = "\n".join(page.locator(".jp-CodeCell .jp-OutputArea-output").all_inner_texts())
    assert f"{lab.url}/v1/" in outputs
    assert "guide - A tiny model" in outputs
    assert "I answer questions about bodhi-jupyter" in outputs
    assert re.search(r"[1-9]\d* tokens read, [1-9]\d* written by guide", outputs)
    assert word in answer.inner_text()
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert visit.hosts == {"127.0.0.1"}
    assert visit.errors == []
