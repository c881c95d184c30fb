"""The notebooks as they lie in the repository; `tests/live/test_notebooks.py` runs them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
CLIENTS = {"OpenAI", "AsyncOpenAI", "Anthropic", "connect"}
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


def calls(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, ast.Call]]:
    """What its cells call, by name."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call):
                    yield ast.unparse(node.func), node


def models(notebook: nbformat.NotebookNode) -> list[ast.expr]:
    """What its calls name as model; Ollama's client takes it first."""
    first = [call.args[0] for name, call in calls(notebook) if name in {"ollama.chat", "ollama.show"}]
    return first + [word.value for _, call in calls(notebook) for word in call.keywords if word.arg == "model"]


def clients(notebook: nbformat.NotebookNode) -> list[ast.Call]:
    """Where it makes a client."""
    return [call for name, call in calls(notebook) if name.rpartition(".")[2] in CLIENTS]


def test_models_are_asked_for_by_the_name_that_always_stands_for_one(notebook):
    # The embedding model in the box is there whatever the default is.
    assert {ast.unparse(model) for model in models(notebook)} <= {"'default'", "'guide-embed'"}


def test_every_client_finds_its_server_itself(notebook):
    assert [call for call in clients(notebook) if call.args or call.keywords] == []


@pytest.mark.parametrize("found", [models, clients])
def test_there_is_something_to_look_at(found):
    assert [call for path in NOTEBOOKS for call in found(nbformat.read(path, as_version=4))]
