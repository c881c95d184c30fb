"""The notebooks as they lie in the repository; `tests/live/test_notebooks.py` runs them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def test_it_is_valid_and_starts_pythons_own_kernel(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_nothing_of_a_run_is_stored(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_models_are_asked_for_by_the_name_that_always_stands_for_one(notebook):
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    named = re.findall(r"model=\"(.*?)\"|chat\(\"default\"|show\(\"(.*?)\"", source)

    # The embedding model in the box is there whatever the default is.
    assert {name for names in named for name in names} <= {"default", "guide-embed", ""}


def test_every_client_finds_its_server_itself(notebook):
    clients = {"OpenAI", "AsyncOpenAI", "Anthropic", "connect"}
    calls = [
        node
        for cell in notebook.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source, mode="exec", feature_version=None))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) in clients or getattr(node.func, "attr", None) in clients)
    ]

    assert all((call.args, call.keywords) == ([], []) for call in calls)
