"""The quickstart as it lies in the repository; `tests/live/test_kernels.py` runs it."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_client_is_made_without_arguments(notebook):
    calls = [
        node
        for cell in notebook.cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "OpenAI"
    ]
    assert [(call.args, call.keywords) for call in calls] == [([], [])]


def test_it_says_what_the_first_model_is_and_how_to_get_another(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for words in ("knows this extension", "BODHI_BACKEND_URL", "c.BodhiExtension.backend_url", "jupyter bodhi doctor"):
        assert words in text
